"""What the semi-supervised part of a training is asked to do; the defaults are Omni-Seg's where the paper says them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from nephrospot.errors import InputError, Problems, did_you_mean
from nephrospot.models import TISSUES

STRATEGIES = ("matching", "grid", "random")


@dataclasses.dataclass(frozen=True)
class SemiOptions:
    """What is learnt beside the labels.

    Table III's MS is ``pseudo`` with ``strategy`` "matching", its CR is ``consistency``; SC is the choice between
    the networks "omni-seg" and "omni-seg-class".

    Attributes
    ----------
    pseudo, consistency : bool
        The two parts.
    strategy : "matching", "grid" or "random"
        Where pseudo-labelled patches are cut: where labelled patches lie, side by side, or anywhere.
    own_scale : bool
        True: a patch is shown at the magnification of the tissue that is asked for, so the readings learnt are those
        that are used. False, for matching: at the magnification of the labelled patch found there, with its code
        (the missing pairs of Fig. 5).
    tissues : tuple of str
    warm_up_epochs : int
        Epochs with labels alone.
    refresh_epochs : int
        Pseudo-labels are made anew every so many epochs.
    rois_per_epoch : int or None
        Regions that are predicted each time, drawn anew; None for all of them.
    patches_per_roi, patches_per_roi_ptc : int
    ratio, ratio_ptc : float
        Weight of the loss on pseudo-labels, for PTC another.
    threshold : float
        Least correlation at which a patch counts as found.
    zooms : (float, float)
        Range of sizes to look for patches at, as factors of their nominal µm per pixel.
    share : float
        Share of the regions used (Fig. 10); smaller shares lie within larger ones.
    share_seed : int
    batch : int
    window_px : int or None
        Side of the windows and of the patches; None for that of the labelled patches.
    keep_empty : bool
        Keep patches in which no pixel is pseudo-labelled.
    kl_weight, mse_weight : float
    """

    pseudo: bool = True
    consistency: bool = True
    strategy: str = "matching"
    own_scale: bool = True
    tissues: tuple[str, ...] = ("DT", "PT", "VES", "PTC")
    warm_up_epochs: int = 50
    refresh_epochs: int = 1
    rois_per_epoch: int | None = None
    patches_per_roi: int = 4
    patches_per_roi_ptc: int = 16
    ratio: float = 0.1
    ratio_ptc: float = 0.1
    threshold: float = 0.5
    zooms: tuple[float, float] = (0.6, 1.25)
    share: float = 1.0
    share_seed: int = 0
    batch: int = 4
    window_px: int | None = None
    keep_empty: bool = False
    kl_weight: float = 1.0
    mse_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("tissues", "zooms"):  # lists from YAML
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        problems = Problems()
        _check(self, problems)
        problems.raise_if_any()

    def as_dict(self) -> dict[str, Any]:
        """For the card, as JSON has it."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def read_semi_options(content: Mapping[str, Any] | None) -> SemiOptions:
    """Options from the configuration; keys left out take the defaults.

    Raises
    ------
    InputError
        With a sentence for every key that is unknown, or every value that can't be.
    """
    content, names = dict(content or {}), [field.name for field in dataclasses.fields(SemiOptions)]
    unknown = [key for key in content if key not in names]
    if unknown:
        raise InputError(
            "\n".join(f"training → semi: {key!r} is unknown; {did_you_mean(key, names)}" for key in unknown)
        )
    return SemiOptions(**content)


def _check(options: SemiOptions, problems: Problems) -> None:
    def complain(name: str, wanted: str) -> None:
        problems.add(f"training → semi: {name} is {getattr(options, name)!r}; give {wanted}.")

    def is_number(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

    for name in ("pseudo", "consistency", "own_scale", "keep_empty"):
        if not isinstance(getattr(options, name), bool):
            complain(name, "true or false")
    if options.strategy not in STRATEGIES:
        problems.add(
            f"training → semi: strategy {options.strategy!r} is unknown; {did_you_mean(options.strategy, STRATEGIES)}"
        )
    if not isinstance(options.tissues, tuple) or not options.tissues:
        complain("tissues", "a list such as [DT, PT, VES, PTC]")
    else:
        for tissue in options.tissues:
            if tissue not in TISSUES:
                problems.add(f"training → semi: tissue {tissue!r} is unknown; {did_you_mean(tissue, TISSUES)}")
    least = {"warm_up_epochs": 0, "refresh_epochs": 1, "patches_per_roi": 1, "patches_per_roi_ptc": 1, "batch": 1,
             "window_px": 16, "share_seed": 0, "rois_per_epoch": 1}  # fmt: skip
    for name, smallest in least.items():
        value = getattr(options, name)
        if not (name in ("rois_per_epoch", "window_px") and value is None) and (
            type(value) is not int or value < smallest
        ):
            complain(name, f"a whole number, {smallest} or more")
    for name in ("ratio", "ratio_ptc", "kl_weight", "mse_weight"):
        if not is_number(getattr(options, name)) or getattr(options, name) < 0:
            complain(name, "0 or a number above")
    if not is_number(options.threshold) or not -1 <= options.threshold <= 1:
        complain("threshold", "a correlation, such as 0.5")
    if not is_number(options.share) or not 0 < options.share <= 1:
        complain("share", "a share above 0 and at most 1")
    zooms = options.zooms
    if (
        not isinstance(zooms, tuple)
        or len(zooms) != 2
        or not all(map(is_number, zooms))
        or not 0 < zooms[0] <= zooms[1]
    ):
        complain("zooms", "the smallest and the largest factor, such as [0.6, 1.25] or [1, 1]")
