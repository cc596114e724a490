"""A source of patches → its table, with the part that each patch belongs to."""

from nephrospot.files import write_parquet
from nephrospot.job import job
from nephrospot.training.patches import list_patches
from nephrospot.training.splits import split_patches, take_fold

with job(snakemake):
    p = snakemake.params
    patches = list_patches(snakemake.input.patches, p.side_px)
    shares = {part: p.split[part] for part in ("training", "validation", "test")}
    patches["split"] = split_patches(patches, shares, by=p.split["by"], seed=p.seed)
    if p.split["folds"]:
        patches["split"] = take_fold(patches, p.split["folds"], p.split["fold"], by=p.split["by"], seed=p.seed)
    write_parquet(snakemake.output.table, patches.astype({"image": str, "mask": str}))
