"""Smallest object sizes that would have been best on the validation slides."""

from nephrospot.choose import choose_postprocessing, write_postprocessing
from nephrospot.job import job

with job(snakemake):
    p, evaluation = snakemake.params, snakemake.params.evaluation
    names = ["truth", "validation", "tissues", "candidates_um2", "min_area_um2", "iou"]
    truth, slides, *rest = (evaluation[name] for name in names)
    table, sentences = choose_postprocessing(p.results, truth, p.methods, slides, *rest)
    write_postprocessing(snakemake.output.table, table, sentences)
