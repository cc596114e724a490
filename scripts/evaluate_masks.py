"""One method's masks of one slide against the truth's."""

from nephrospot.evaluate import evaluate_slide
from nephrospot.files import write_parquet
from nephrospot.job import job

with job(snakemake):
    p = snakemake.params.evaluation
    options = (p[name] for name in ("tissues", "min_area_um2", "iou", "patch_um", "kpis_mpp", "unions"))
    table = evaluate_slide(snakemake.input.masks, snakemake.input.truth, *options)
    slide, method = snakemake.wildcards.slide, snakemake.wildcards.method
    write_parquet(snakemake.output.table, table.assign(slide=slide, method=method))
