"""One simulated kidney of the demonstration: slide, Visium, scores, truth."""

from pathlib import Path

from nephrospot.job import job
from nephrospot.simulate.demo import write_demo_slide

with job(snakemake):
    write_demo_slide(Path(snakemake.output.image).parent, snakemake.wildcards.slide, snakemake.params.demo)
