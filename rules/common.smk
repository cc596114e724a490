"""Settings, sample sheet and the paths that rules ask for; nothing is computed here."""

import sys
import time
from pathlib import Path

# Scripts and jobs find the library in the checkout, installed or not.
LIBRARY = Path(workflow.basedir) / "workflow"
sys.path.insert(0, str(LIBRARY))

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from nephrospot.environment import JOB_ENVIRONMENT
from nephrospot.errors import InputError
from nephrospot.failures import FailureRecorder
from nephrospot.files import list_paths
from nephrospot.fingerprint import code_version, files_version
from nephrospot.fits import list_fits
from nephrospot.job import collect_sentences
from nephrospot.leftover import find_jobs, is_locked, tell_jobs, tell_lock
from nephrospot.reads import list_folders, picture_of
from nephrospot.readings import STANDARD_MAGNIFICATIONS, expand_sweep, method_readings
from nephrospot.refusals import take_back
from nephrospot.settings import read_settings
from nephrospot.sheet import read_sheet, require_slides
from nephrospot.training.runs import list_runs

shell.prefix(
    f"export PYTHONPATH='{LIBRARY}':${{{{PYTHONPATH:-}}}} "
    + " ".join(f"{name}={value}" for name, value in JOB_ENVIRONMENT.items())
    + "; "
)
STARTED = time.time()
FAILURES = FailureRecorder()

if workflow.is_main_process:
    logger.addHandler(FAILURES)
    # Snakemake refuses by itself; this says it in a sentence, also before a dry run.
    if is_locked("."):
        logger.warning(tell_lock())

try:
    settings = read_settings(config)
    DEMO = settings["demo"]["folder"]
    GENERATED = [DEMO, f"{settings['results']}/spaceranger"]
    sheet = read_sheet(settings["sheet"], settings, generated=GENERATED, look_for_files=workflow.is_main_process)
    require_slides(settings["evaluation"]["validation"], sheet, "evaluation.validation")
except InputError as error:
    raise WorkflowError(str(error)) from None


pathvars:
    results=settings["results"],
    logs=f"{settings['results']}/logs",
    demo=DEMO,


included = sheet[sheet["exclude"] == ""].set_index("slide", drop=False)
SLIDES = list(included.index)
WITH_SPOTS = list(included.index[included["visium"] != ""])
WITH_SCORES = list(included.index[included["scores"] != ""])
SCORED = list(included.index[(included["scores"] != "") & (included["visium"] != "")])
COUNTED = [slide for slide in settings["reads"]["slides"] if slide in SLIDES]
DECONVOLVED = WITH_SPOTS if settings["deconvolution"]["reference"] else []
FITS = list_fits(settings)
AGAIN = DECONVOLVED if "second" in FITS else []
# Tissues that are compared with transcripts, for which other shares than RCTD's are tried as well.
TRANSCRIBED = list(dict.fromkeys(c["tissue"] for c in settings["comparisons"] if c["reference"] != "pathologist"))
METHODS = expand_sweep(settings["methods"], settings["segmentation"]["sweep"])
NETWORKS = [name for name, method in METHODS.items() if method.get("network")]
RUNS = list_runs(settings["training"])
# Trainings that read the cohort's slides for Table III alone.
ABLATION = {
    name: run | {"weights": run["weights"] or f"{settings['results']}/training/{run['twin'] or name}.safetensors"}
    for name, run in RUNS.items()
    if run["table"] == "table3"
}
TRUTH = settings["evaluation"]["truth"]
# Of the others only what Table II needs is computed.
DETAILED = [name for name, method in METHODS.items() if method["details"]]
# Where spots are moved on trial and their worst are drawn: not for the sweep's own methods.
LOOKED_AT = [name for name in DETAILED if name in settings["methods"]]
EVALUATED = [name for name in DETAILED if name != TRUTH] if TRUTH else []
DROP_INS = [name for name, method in METHODS.items() if method.get("masks")]


wildcard_constraints:
    slide="[A-Za-z0-9][A-Za-z0-9._-]*",
    method="[A-Za-z0-9][A-Za-z0-9@._-]*",


def any_of(names):
    """A wildcard's pattern for just these names."""
    return "|".join(map(re.escape, names)) or "(?!)"


# Every job of a cluster reads all of the rules: what takes long is a function, called only for jobs that are planned.
def code(script, *folders):
    """Version of the code behind a script and of folders of the library: a rule reruns when it changes."""
    paths = [Path(workflow.basedir) / "scripts" / f"{script}.py", *(LIBRARY / folder for folder in folders)]

    def version(wildcards):
        return "".join(code_version(path) if path.suffix else files_version(path) for path in paths)

    # The main process plans every rule, and a value is looked up faster than a function is called for each job.
    return version(None) if workflow.is_main_process else version


def every(pattern, **values):
    """Input function: `expand`, over slides."""
    return lambda wildcards: expand(pattern, **values)


def each(name, slides):
    """Input function: these slides' values in one column of the sheet."""
    return lambda wildcards: [included.at[slide, name] for slide in slides]


def column(name):
    """Input function: a slide's value in one column of the sheet."""
    return lambda wildcards: included.at[wildcards.slide, name]


def visium_if_any(wildcards):
    """Input function: a slide's Visium folder, or no input for a slide without."""
    return included.at[wildcards.slide, "visium"] or []


def scores_if_any(wildcards):
    """Input function: a slide's scores, or no input for a slide without."""
    return included.at[wildcards.slide, "scores"] or []


def filled_sheet(wildcards):
    """Input function: the scoring sheet that a reader filled in."""
    if not settings["scoring"]["filled"]:
        raise WorkflowError("config, scoring.filled: the key is empty; give the path of the filled-in sheet.csv.")
    return settings["scoring"]["filled"]


def fastqs(wildcards):
    """Input function: the folders of a slide's FASTQ files."""
    return list_folders(settings["reads"]["slides"][wildcards.slide]["fastqs"])


def proportions_if_any(wildcards):
    """Input function: a slide's cell types, or no input where nothing is deconvolved."""
    slide = wildcards.slide
    return f"{settings['results']}/{slide}/proportions.parquet" if deconvolved_if_any(wildcards) else []


def deconvolved_if_any(wildcards):
    """Params function: a list of the slide, or of none where nothing is deconvolved."""
    asked = settings["deconvolution"]["reference"] and included.at[wildcards.slide, "visium"]
    return [wildcards.slide] if asked else []


def sheet_row(*columns):
    """Params function: a slide's values in some columns."""
    return lambda wildcards: {name: included.at[wildcards.slide, name] for name in columns}


def any_method(name):
    """A method of the configuration, or one of the ablation."""
    return METHODS[name] if name in METHODS else ABLATION[name]


def weights_of(*names):
    """The weights of some methods, each file once: a method has one, or one for each fold."""
    return list(dict.fromkeys(path for name in names for path in list_paths(any_method(name)["weights"])))


def weights(wildcards):
    """Input function: the weights of a method."""
    return weights_of(wildcards.method)


def readings_of(slide, method):
    """Tissue, magnification and scale code of each reading of a method on a slide's species."""
    return method_readings(any_method(method), settings["species"], included.at[slide, "species"])


def readings(wildcards):
    """Params function: the readings of one slide by one method."""
    return readings_of(wildcards.slide, wildcards.method)


def magnifications(wildcards):
    """What a slide is tiled at: every magnification that some method reads, and the usual ones, so that a method
    or a sweep that is added later finds its tiles there and nothing else runs again."""
    read = {
        magnification for name in [*NETWORKS, *ABLATION] for _, magnification, _ in readings_of(wildcards.slide, name)
    }
    return sorted(read | set(STANDARD_MAGNIFICATIONS))


def windows(*keys):
    """Some of the keys under segmentation: a rule reruns for those that it uses, not for the others."""
    return {key: settings["segmentation"][key] for key in keys}


def evaluation_keys(*keys):
    """Some of the keys under evaluation, for the same reason."""
    return {key: settings["evaluation"][key] for key in keys}


def options_of(method):
    """How a method reads a slide; a mode of its own goes before the cohort's."""
    options = windows("window_px", "halo_px", "max_upsampling", "precision", "shifts", "blend", "mode")
    own = any_method(method)
    return options | {"mode": own.get("mode") or options["mode"], "flips": own.get("flips", False)}


def reading_options(wildcards):
    """Params function: how one method reads a slide."""
    return options_of(wildcards.method)


def drop_in(wildcards):
    """The file, or the folder of files, that a drop-in method's masks of a slide are in."""
    path = METHODS[wildcards.method]["masks"].replace("{slide}", wildcards.slide)
    return str(Path(path.split("{tissue}")[0] + "_").parent) if "{tissue}" in path else path


def slide_finals(wildcards=None):
    """Input function: what every slide ends with."""
    finals = expand("<results>/{slide}/{file}", slide=SLIDES, file=["slide.json", "inputs.json"])
    finals += expand("<results>/{slide}/{method}/masks.ome.zarr", slide=SLIDES, method=METHODS)
    finals += expand(
        "<results>/{slide}/{method}/{file}",
        slide=SLIDES,
        method=DETAILED,
        file=["masks.geojson.gz", "objects.parquet", "overview.jpg", "regions.jpg"],
    )
    finals += expand("<results>/{slide}/{method}/spots.parquet", slide=WITH_SPOTS, method=METHODS)
    finals += expand("<results>/{slide}/{file}", slide=WITH_SPOTS, file=["shifts.parquet", "trials.json"])
    finals += expand("<results>/{slide}/proportions.parquet", slide=DECONVOLVED)
    return finals


def cohort_tables(wildcards=None):
    """Input function: the cohort's numbers."""
    names = ["correlations.parquet", "differences.parquet", "table2.tsv"]
    names += ["evaluation.parquet", "evaluation.tsv"] if EVALUATED else []
    names += ["readers.tsv"] if SCORED else []
    names += ["sensitivity.tsv"] if DECONVOLVED and TRANSCRIBED else []
    return [f"{settings['results']}/{name}" for name in names]


def cohort_finals(wildcards=None):
    """Input function: what the cohort ends with."""
    record = [f"provenance/{name}" for name in ("provenance.json", "config.yaml", "slides.tsv")]
    names = ["check.txt", "table2.html", "report.html", *record]
    return [*cohort_tables(), *(f"{settings['results']}/{name}" for name in names)]


def tell_end(heading):
    """At the end of a run: what went wrong, each in a sentence, and the slides that were left out for it.

    Their notes are taken back, so that the next run tries again."""
    left_out = take_back(SLIDES, settings["results"])
    sentences = collect_sentences(f"{settings['results']}/logs", STARTED) + FAILURES.tell()
    sentences += [sentence for told in left_out.values() for sentence in told if sentence not in sentences]
    if sentences:
        print("\n".join(["", heading, *(f"  {sentence}" for sentence in sentences)]))
    if left_out:
        print(f"The other slides are done, and what was made says that it is without {', '.join(left_out)}.")
    return left_out


onstart:
    # Jobs of a run that was killed go on, and Snakemake doesn't know of them.
    if jobs := find_jobs("."):
        raise WorkflowError(tell_jobs(jobs))


onsuccess:
    wrote = [path for path in map(Path, cohort_finals()) if path.exists() and path.stat().st_mtime >= STARTED]
    print("\n".join(["", "This run wrote", *(f"  {path}" for path in wrote)]) if wrote else "\nDone.")
    if left_out := tell_end("What went wrong:"):
        print(f"Mend {', '.join(left_out)}, or give a reason in column exclude, and run the same command again.")
        sys.exit(1)


onerror:
    tell_end("What stopped the run:")
    print("Finished steps are kept: mend what is said above and run the same command again.")
