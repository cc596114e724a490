"""The demonstration cohort: any number of simulated kidneys by name, each with a seed of its own."""

from __future__ import annotations

import zlib
from pathlib import Path

from nephrospot.simulate.cohort import write_reference, write_slide


def write_demo_slide(folder: str | Path, slide: str, demo: dict) -> dict:
    """Simulate the slide called ``slide``.

    Parameters
    ----------
    folder
        Where slide.tiff, outs, masks, scores.csv and truth.parquet go.
    slide
        Its name decides its seed, so that a slide added to the sheet changes none of the others.
    demo
        From the configuration: ``seed``, ``simulation`` (settings of every slide) and ``slides`` (what differs
        on single ones), both overriding `nephrospot.simulate.cohort.DEFAULTS`.

    Returns
    -------
    As `nephrospot.simulate.cohort.write_slide`.
    """
    settings = {section: dict(values) for section, values in (demo.get("simulation") or {}).items()}
    for section, values in (demo.get("slides", {}).get(slide) or {}).items():
        settings[section] = settings.get(section, {}) | values
    return write_slide(folder, settings, slide_seed(slide, demo["seed"]))


def write_demo_reference(path: str | Path, demo: dict) -> None:
    """Single cells of other donors, with the same genes as the slides."""
    write_reference(path, demo.get("simulation"), slide_seed("reference", demo["seed"]))


def slide_seed(name: str, seed: int) -> int:
    """A seed that depends on the cohort's seed and the name alone."""
    return zlib.crc32(f"{seed}:{name}".encode())
