"""Slides and methods → custom content for MultiQC."""

import pandas as pd

from nephrospot.files import read_json, write_json
from nephrospot.job import job
from nephrospot.multiqc import tell_methods, tell_slides

with job(snakemake):
    manifests = {facts["slide"]: facts for facts in map(read_json, snakemake.input.manifests)}
    notes = dict(zip(snakemake.params.deconvolved, map(read_json, snakemake.input.deconvolutions), strict=True))
    correlations = pd.read_parquet(snakemake.input.correlations)
    write_json(snakemake.output.slides, tell_slides(manifests, notes, correlations))
    write_json(snakemake.output.methods, tell_methods(correlations, snakemake.params.labels))
