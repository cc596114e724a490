"""Spots of all slides → a blinded set of pictures, a sheet to fill in, and the key to it."""

from contextlib import ExitStack

from nephrospot.check import read_slide_manifest
from nephrospot.cohort import list_scoring_spots
from nephrospot.job import job
from nephrospot.scoring import choose_spots, draw_crop, write_kit
from nephrospot.slide import open_slide

with job(snakemake):
    p, given = snakemake.params, snakemake.input
    spots = list_scoring_spots(p.slides, given.spots, p.scoring["tissues"][0], p.tissues)
    key = choose_spots(spots, *(p.scoring[name] for name in ("spots", "positive_share", "repeats", "seed")))
    mpps = dict(zip(p.slides, (read_slide_manifest(path)["mpp"] for path in given.manifests), strict=True))
    with ExitStack() as stack:
        slides = {name: stack.enter_context(open_slide(row["image"])) for name, row in p.slides.items()}
        crops = [
            draw_crop(slides[row.slide], mpps[row.slide], row.x_px, row.y_px, p.scoring["crop_um"], p.diameter_um)
            for row in key.itertuples()
        ]
    write_kit(snakemake.params.folder, key, crops, p.scoring["tissues"])
