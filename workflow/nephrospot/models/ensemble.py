"""Several trained copies of a method, and flipped images, answered as one by averaging.

Section 2.3 of the KPIs paper (Sánchez et al., MICCAI 2024): each patch is flipped horizontally, vertically and both,
and the predictions of the models of five folds are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from nephrospot.errors import InputError
from nephrospot.files import list_paths
from nephrospot.models.method import TISSUES, Method, Place
from nephrospot.models.weights import load_weights

# Axes of (N, …, H, W) that are turned round.
UPRIGHT: tuple[tuple[int, ...], ...] = ((),)
FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


class Ensemble(Method):
    """The average of several methods, each over the flipped images where that is asked for.

    What is averaged are probabilities (the soft-max of a method's two logits), all members and flips alike. The margin
    is the logarithm of the average's odds: above zero just where the average is above one half.

    Parameters
    ----------
    members
        At least one; they needn't be of one kind, but each must know the tissues it is asked for.
    flips
        Whether every image is also answered flipped in x, in y, and in both, at four times the cost.
    """

    def __init__(self, members: Sequence[Method], flips: bool = False) -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble of nothing; give at least one method.")
        self.members = torch.nn.ModuleList(members)
        self.flips = flips
        # The sides' smallest common multiple would do; all strides are powers of two.
        self.stride = max(member.stride for member in members)
        self.tissues = tuple(t for t in TISSUES if all(t in member.tissues for member in members))

    def forward(self, images: Tensor, tissue_ids: Tensor, scale_ids: Tensor) -> Tensor:
        """Logarithms of the averaged probabilities of background and foreground; see `Method.forward`."""
        self.check_size(images)
        average = Average()
        for axes in FLIPS if self.flips else UPRIGHT:
            turned = images.flip(axes)
            for member in self.members:
                logits = member(turned, tissue_ids, scale_ids).float()
                average.add((logits[:, 1] - logits[:, 0]).flip(axes))
        return torch.stack([average.background, average.foreground], dim=1)

    def margins(self, images: Tensor, readings: Sequence[tuple[int, int]], core: slice | None = None) -> Tensor:
        """See `Method.margins`; the core is that of the image as it was given."""
        self.check_size(images)
        if len(self.members) == 1 and not self.flips:
            return self.members[0].margins(images, readings, core)
        spans = [(core or slice(None)).indices(size)[:2] for size in images.shape[-2:]]
        average = Average()
        for axes in FLIPS if self.flips else UPRIGHT:
            turned = images.flip(axes)
            asked, rows, columns = follow_core(spans, images.shape[-2:], axes)
            for member in self.members:
                average.add(member.margins(turned, readings, asked)[:, :, rows, columns].flip(axes))
        return average.foreground - average.background

    def foreground(
        self,
        images: Tensor,
        readings: Sequence[tuple[int, int]],
        places: Sequence[Place],
        core: slice | None = None,
    ) -> list[bool]:
        """See `Method.foreground`."""
        if len(self.members) > 1 or self.flips:
            return super().foreground(images, readings, places, core)
        self.check_size(images)
        return self.members[0].foreground(images, readings, places, core)


class Average:
    """A running average of probabilities, held as logarithms so that none rounds to 0 or 1.

    An infinite margin makes NaN, so that a member's overflow shows however the others answer.

    Attributes
    ----------
    background, foreground : float32, the shape of what was added
        Logarithms of the averages.
    """

    def __init__(self) -> None:
        self.n = 0
        self.sums: tuple[Tensor, Tensor] | None = None

    def add(self, margins: Tensor) -> None:
        """Take in one answer, foreground minus background logit."""
        broken = margins - margins  # 0, or NaN
        new = F.logsigmoid(-margins) + broken, F.logsigmoid(margins) + broken
        self.sums = new if self.sums is None else tuple(map(torch.logaddexp, self.sums, new))
        self.n += 1

    @property
    def background(self) -> Tensor:
        return self.sums[0] - math.log(self.n)

    @property
    def foreground(self) -> Tensor:
        return self.sums[1] - math.log(self.n)


def follow_core(
    spans: Sequence[tuple[int, int]], sizes: Sequence[int], axes: Sequence[int]
) -> tuple[slice, slice, slice]:
    """Where a core lies in a flipped image.

    A method takes one core for rows and columns alike, so that a core off the middle of an image, flipped in one axis,
    is asked for with what lies between.

    Parameters
    ----------
    spans : start and stop of the core's rows, and of its columns
    sizes : the image's height and width
    axes : that are flipped, of -2 and -1

    Returns
    -------
    What to ask a method for, and of its answer the rows and the columns that are the core.
    """
    turned = [
        (size - stop, size - start) if axis in axes else (start, stop)
        for axis, size, (start, stop) in zip((-2, -1), sizes, spans, strict=True)
    ]
    first, last = min(start for start, _ in turned), max(stop for _, stop in turned)
    return slice(first, last), *(slice(start - first, stop - first) for start, stop in turned)


def load_ensemble(network: str, weights: str | Path | Sequence[str | Path], flips: bool = False) -> tuple[Method, dict]:
    """Build ``network`` once for each file of weights.

    Parameters
    ----------
    network
        A name of `nephrospot.models.NETWORKS`.
    weights
        One file, or one for each fold.
    flips
        See `Ensemble`.

    Returns
    -------
    method : Method, in evaluation mode; the network itself for one file and no flips
    card : dict, that of the file, or {"folds": those of the files}

    Raises
    ------
    InputError
        As `nephrospot.models.weights.load_weights`, or when there is no file, or one twice.
    """
    paths = list_paths(weights)
    if not paths:
        raise InputError(f"{network}: the list of weights is empty; give a file for each fold.")
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise InputError(f"{twice[0]}: the file is given twice and would count twice; take one out.")
    loaded = [load_weights(network, path) for path in paths]
    methods, cards = [method for method, _ in loaded], [card for _, card in loaded]
    method = methods[0] if len(methods) == 1 and not flips else Ensemble(methods, flips)
    return method.eval(), cards[0] if len(cards) == 1 else {"folds": cards}
