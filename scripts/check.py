"""Every problem of the cohort at once, as an error; a text for people where there is none."""

from pathlib import Path

from nephrospot.files import read_json
from nephrospot.job import job
from nephrospot.judge import write_check

with job(snakemake):
    output = snakemake.output.text
    write_check(read_json(snakemake.input.found), snakemake.params.excluded, output)
    print(Path(output).read_text(encoding="utf-8"), end="", flush=True)
