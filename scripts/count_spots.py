"""Reads and picture of a slide → Space Ranger's folder, by the user's Space Ranger."""

from nephrospot.files import list_paths
from nephrospot.job import job
from nephrospot.settings import read_settings
from nephrospot.spaceranger import count_command, count_slide, find_spaceranger

with job(snakemake):
    p, given, slide = snakemake.params, snakemake.input, snakemake.wildcards.slide
    reads = read_settings(snakemake.config)["reads"]
    program, version = find_spaceranger(reads["spaceranger"], reads["min_version"])
    paths = given.transcriptome, p.probe_set, given.image, list_paths(given.fastqs)
    command = count_command(program, version, slide, p.own, *paths, snakemake.threads, snakemake.resources.mem_mb)
    count_slide(command, version, snakemake.output.outs, snakemake.output.facts)
