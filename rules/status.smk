"""`snakemake status`: what is done, running, failed and left by slide, and a forecast; looks and starts nothing."""

from nephrospot.status import Step, tell_status


include: "status_common.smk"


# Told while this is read: so nothing is planned or locked, and it works beside a run.
if workflow.is_main_process and "status" in sys.argv[1:]:
    manifests = {slide: f"{settings['results']}/{slide}/slide.json" for slide in SLIDES}
    print(tell_status(list_steps(), manifests, AHEAD_PARAMS))
    sys.exit(0)
