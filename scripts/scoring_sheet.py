"""Spots of all slides → a blinded set of pictures, a sheet to fill in, and the key to it."""

from nephrospot.check import read_slide_manifest
from nephrospot.cohort import list_scoring_spots
from nephrospot.job import job
from nephrospot.scoring import choose_spots, draw_crops, write_kit

with job(snakemake):
    p, given = snakemake.params, snakemake.input
    spots = list_scoring_spots(p.slides, given.spots, p.scoring["tissues"][0], p.tissues)
    key = choose_spots(spots, *(p.scoring[name] for name in ("spots", "positive_share", "repeats", "seed")))
    mpps = dict(zip(p.slides, (read_slide_manifest(path)["mpp"] for path in given.manifests), strict=True))
    images = {slide: own["image"] for slide, own in p.slides.items()}
    write_kit(p.folder, key, draw_crops(key, images, mpps, p.scoring["crop_um"], p.diameter_um), p.scoring["tissues"])
