"""Slides and methods → custom content for MultiQC."""

from pathlib import Path

import pandas as pd

from nephrospot.files import read_json, write_json
from nephrospot.job import job
from nephrospot.multiqc import tell_methods, tell_slides
from nephrospot.refusals import leave_out

with job(snakemake, can_leave_out=True) as refused:
    p = snakemake.params
    manifests = {slide: read_json(Path(p.results, slide, "slide.json")) for slide in leave_out(p.slides, refused)}
    deconvolved = [slide for slide in p.deconvolved if slide in manifests]
    notes = {slide: read_json(Path(p.results, slide, "deconvolution.json")) for slide in deconvolved}
    correlations = pd.read_parquet(snakemake.input.correlations)
    write_json(snakemake.output.slides, tell_slides(manifests, notes, correlations))
    write_json(snakemake.output.methods, tell_methods(correlations, p.labels))
