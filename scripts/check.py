"""Every problem of the cohort at once; the pipeline goes on only where there is none."""

from pathlib import Path

from nephrospot.check import check_cohort
from nephrospot.files import read_json
from nephrospot.job import job
from nephrospot.prerequisites import check_prerequisites
from nephrospot.settings import read_settings

with job(snakemake):
    p, output = snakemake.params, snakemake.output.text
    manifests = [read_json(path) for path in snakemake.input.manifests]
    shared = check_prerequisites(manifests, read_settings(snakemake.config))
    check_cohort(manifests, p.sheet, p.tissues, output, shared)
    print(Path(output).read_text(encoding="utf-8"), end="", flush=True)
