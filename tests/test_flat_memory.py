"""A cohort's numbers need no more memory for more spots: slides are read when they are asked for, and let go of."""

import gc
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from nephrospot import pooled
from nephrospot.blocks import draw_blocks
from nephrospot.cohort import Tables
from nephrospot.pooled import Ranks
from nephrospot.readers import measure_readers
from nephrospot.spool import Parts
from nephrospot.studentised import resample
from spots_by_hand import hexagons

PLACE = hexagons(40, 40)
SPOTS = len(PLACE)


def draw(slide, columns):
    return np.random.default_rng(slide).uniform(0, 100, (SPOTS, columns))


def draw_again(slides):
    places, predicted, observed = (
        Parts(make, range(slides)) for make in (lambda at: PLACE, lambda at: draw(at, 2), lambda at: draw(at, 1)[:, 0])
    )
    return resample(draw_blocks(places, predicted, observed, 600, seed=1, replicates=40)).pooled.r


def rank(slides):
    return sum(own.sum() for own in Ranks(Parts(lambda at: draw(at, 1)[:, 0], range(slides)), most=2 * SPOTS))


def compare_readers(slides):
    barcodes = [f"b{spot:04d}" for spot in range(SPOTS)]

    def read(slide, number):
        pair = [
            pd.DataFrame({"barcode": barcodes, "reader": reader, "reading": "1", "CAP": values})
            for reader, values in zip("AB", draw(number, 2).T, strict=True)
        ]
        return pd.concat(pair, ignore_index=True)

    def locate(slide, _):
        return pd.DataFrame({"barcode": barcodes, "x_um": PLACE[:, 0], "y_um": PLACE[:, 1]})

    names = {f"S{number}": number for number in range(slides)}
    return measure_readers(Tables(names, read), Tables(names, locate), seed=1, replicates=40)


@pytest.mark.parametrize("work", [draw_again, rank, compare_readers])
def test_memory_does_not_grow_with_the_spots_of_a_cohort(work, monkeypatch):
    monkeypatch.setattr(pooled, "SAMPLED", 1000)
    work(4)  # what is imported and compiled only once
    peaks = []
    for slides in (4, 64):
        gc.collect()
        tracemalloc.start()
        work(slides)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 60 * SPOTS * 8 / 2, "of sixty slides more not even one number a spot is held"
