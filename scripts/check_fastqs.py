"""FASTQ files of a slide → FastQC's pages and verdicts."""

from nephrospot.fastq import list_fastqs, run_fastqc
from nephrospot.files import list_paths
from nephrospot.job import job

with job(snakemake):
    paths = list_fastqs(list_paths(snakemake.input.fastqs), snakemake.params.sample)
    run_fastqc(paths, snakemake.output.folder, snakemake.output.table, snakemake.threads)
