"""Every problem of the cohort at once; the pipeline goes on only where there is none."""

from pathlib import Path

from nephrospot.check import check_cohort
from nephrospot.files import read_json
from nephrospot.job import job

with job(snakemake):
    manifests = [read_json(path) for path in snakemake.input.manifests]
    check_cohort(manifests, snakemake.params.sheet, snakemake.params.tissues, snakemake.output.text)
    print(Path(snakemake.output.text).read_text(encoding="utf-8"), end="", flush=True)
