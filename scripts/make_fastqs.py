"""A sequencer's run folder → FASTQ files, by the user's Space Ranger."""

from pathlib import Path

from nephrospot.job import job
from nephrospot.settings import read_settings
from nephrospot.spaceranger import find_spaceranger, make_fastqs, mkfastq_command

with job(snakemake):
    reads, folder = read_settings(snakemake.config)["reads"], Path(snakemake.output.folder)
    program, _ = find_spaceranger(reads["spaceranger"], reads["min_version"])
    made = folder.with_name(f"{folder.name}.unfinished") / "fastq"
    most = snakemake.threads, snakemake.resources.mem_mb
    make_fastqs(mkfastq_command(program, snakemake.wildcards.flowcell, snakemake.params.own, made, *most), made, folder)
