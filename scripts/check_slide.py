"""Facts of one slide and every problem with it → slide.json."""

from nephrospot.check import check_slide
from nephrospot.files import write_json
from nephrospot.job import job

with job(snakemake):
    write_json(snakemake.output.manifest, check_slide(snakemake.params.row, snakemake.params.registration))
