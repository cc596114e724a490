"""Which patches train, which choose the epoch, which are tested: whole regions or patients, never single patches."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from nephrospot.errors import InputError, did_you_mean

SHARES = {"training": 0.6, "validation": 0.1, "test": 0.3}
TRIES = 20


def split_patches(
    patches: pd.DataFrame, shares: Mapping[str, float] | None = None, by: str = "roi", seed: int = 0
) -> pd.Series:
    """Give every patch its part.

    All patches of a region (or patient), of whatever tissue and stain, come into one part. Every tissue gets
    something in every part where it has regions enough, and its shares are met as nearly as whole regions allow.

    Parameters
    ----------
    patches
        Of `nephrospot.training.patches.list_patches`.
    shares
        By part, adding up to 1; by default 6:1:3 (Omni-Seg, IEEE TMI 2023, section IV A). Where a tissue has too
        few regions for all parts, the parts named first get them.
    by
        "roi" or "patient".
    seed
        Another seed gives another split.

    Returns
    -------
    Series of names, with the index of ``patches``; called "split"

    Raises
    ------
    InputError
        When a split by patch is asked for, a patient isn't known, the shares don't add up to 1, or there are fewer
        regions than parts.
    """
    shares = _check_shares(SHARES if shares is None else shares)
    names, counts = count_groups(patches, by)
    if len(names) < len(shares):
        raise InputError(
            f"the patches come from {len(names)} {by}{'' if len(names) == 1 else 's'} ({', '.join(names[:3])}); "
            f"{', '.join(shares)} need one each at least, so label a second or third region, or ask for fewer parts."
        )
    rng = np.random.default_rng(seed)
    best, fewest = None, math.inf
    for _ in range(TRIES):  # tissues can stand in each other's way; another order may serve all of them
        parts = _assign(counts, np.array(list(shares.values())), rng)
        lacking = sum(int((counts[parts == part].sum(axis=0) == 0).sum()) for part in range(len(shares)))
        if lacking < fewest:
            best, fewest = parts, lacking
        if fewest == 0:
            break
    part_of = {name: list(shares)[part] for name, part in zip(names, best, strict=True)}
    return patches[by].astype(str).map(part_of).rename("split")


def take_fold(patches: pd.DataFrame, folds: int, fold: int, by: str = "roi", seed: int = 0) -> pd.Series:
    """Share what isn't for testing out to folds, and give one of them to validation, the others to training.

    Parameters
    ----------
    patches
        With the column ``split`` of `split_patches`; its test part stays as it is.
    folds, fold
        How many, and which of them from 1. With one ``seed`` every region or patient is in just one fold.
    by, seed
        As for `split_patches`.

    Returns
    -------
    Series of names as of `split_patches`

    Raises
    ------
    InputError
        When there are fewer regions or patients than folds.
    """
    rest = patches[patches["split"] != "test"]
    shares = {str(number): 1 / folds for number in range(1, folds + 1)}
    parts = split_patches(rest, shares, by, seed)
    own = np.where(parts == str(fold), "validation", "training")
    return patches["split"].where(patches["split"] == "test", pd.Series(own, rest.index).reindex(patches.index))


def keep_fraction(patches: pd.DataFrame, fraction: float, seed: int, by: str = "roi") -> pd.DataFrame:
    """Keep a share of the regions (or patients) of every tissue; smaller shares lie within larger ones.

    Parameters
    ----------
    fraction
        Above 0, at most 1 (Omni-Seg, Fig. 10); every tissue keeps one region at least.

    Returns
    -------
    The rows that stay, with their index
    """
    if not 0 < fraction <= 1:
        raise InputError(f"the data fraction is {fraction}; give a share above 0 and at most 1, such as 0.25.")
    names, counts = count_groups(patches, by)
    kept = np.zeros(len(names), bool)
    order = np.random.default_rng(seed).permutation(len(names))
    for tissue in range(counts.shape[1]):
        having = order[counts[order, tissue] > 0]
        kept[having[: math.ceil(fraction * len(having) - 1e-9)]] = True
    return patches[patches[by].astype(str).isin([name for name, keep in zip(names, kept, strict=True) if keep])]


def take_part(patches: pd.DataFrame, part: str) -> pd.DataFrame:
    """The patches of one part of a split, renumbered from 0.

    Raises
    ------
    InputError
        When there is no column ``split``, or no patch in that part.
    """
    if "split" not in patches:
        raise InputError("the patches have no column split; call split_patches and give its names as that column.")
    own = patches[patches["split"] == part].reset_index(drop=True)
    if not len(own):
        raise InputError(f"no patch is for {part}; give it a share of the split, or label more regions.")
    return own


def count_groups(patches: pd.DataFrame, by: str) -> tuple[list[str], np.ndarray]:
    """Names of the regions or patients, sorted, and their patches of each tissue (groups, tissues)."""
    if by in ("patch", "image", "name"):
        raise InputError(
            "patches can't be split by patch: neighbours of one region would stand on both sides and the test would "
            "be of memory; split by roi or by patient."
        )
    if by not in ("roi", "patient"):
        raise InputError(f"split by {by!r} is unknown; {did_you_mean(by, ('roi', 'patient'))}")
    unknown = patches[patches[by].astype(str) == ""]
    if len(unknown):
        raise InputError(
            f"{len(unknown)} patches have no {by}, such as {unknown['image'].iloc[0]}; split by "
            f"{'roi' if by == 'patient' else 'patient'}, or give a CSV with a column {by}."
        )
    table = pd.crosstab(patches[by].astype(str), patches["tissue"]).sort_index()
    return list(table.index), table.to_numpy()


def _check_shares(shares: Mapping[str, float]) -> dict[str, float]:
    kept = {name: float(share) for name, share in shares.items() if share != 0}
    if any(share < 0 for share in kept.values()) or abs(sum(kept.values()) - 1) > 1e-6:
        told = ", ".join(f"{name} {share}" for name, share in shares.items())
        raise InputError(f"the shares of the split ({told}) must be positive and add up to 1, such as .6, .1 and .3.")
    return kept


def _assign(counts: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part of each group: first one group of each tissue for each part, rarest tissues first, then by need."""
    groups, tissues = counts.shape
    parts = np.full(groups, -1)
    rarest_first = np.argsort((counts > 0).sum(axis=0) + rng.random(tissues) / 2)
    for tissue in rarest_first:
        for part in range(len(shares)):
            free = np.flatnonzero((parts < 0) & (counts[:, tissue] > 0))
            if len(free) and not counts[parts == part, tissue].any():
                parts[rng.choice(free)] = part
    total = counts.sum(axis=0)
    have = np.array([counts[parts == part].sum(axis=0) for part in range(len(shares))])
    # Large groups first: the small ones then even out what they leave.
    waiting = sorted(rng.permutation(np.flatnonzero(parts < 0)), key=lambda g: -int(counts[g].sum()))
    for group in waiting:
        need = (shares[:, None] * total - have) / total  # of each part, in shares of the tissue
        parts[group] = int(np.argmax((need * (counts[group] > 0)).sum(axis=1)))
        have[parts[group]] += counts[group]
    return parts
