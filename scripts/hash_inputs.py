"""Every file of one slide that is read → inputs.json."""

from nephrospot.files import write_json
from nephrospot.job import job
from nephrospot.provenance import hash_inputs

with job(snakemake):
    write_json(snakemake.output.facts, hash_inputs(**snakemake.params.row))
