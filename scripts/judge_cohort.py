"""What is wrong with each slide and with what all share → verdicts.json, as data: nothing is refused here."""

from nephrospot.files import read_json, write_json
from nephrospot.job import job
from nephrospot.judge import judge_cohort
from nephrospot.prerequisites import check_prerequisites
from nephrospot.settings import read_settings

with job(snakemake, can_leave_out=True):
    p = snakemake.params
    manifests = [read_json(path) for path in snakemake.input.manifests]
    shared = check_prerequisites(manifests, read_settings(snakemake.config))
    write_json(snakemake.output.verdicts, judge_cohort(manifests, p.given, p.tissues, shared))
