"""µm per pixel: what a magnification means, and the witnesses that must agree on a slide's.

A magnification of m× means 10/m µm per pixel, whatever the scanner calls it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from nephrospot.errors import InputError

# Outside this range a resolution tag is an image editor's default (72 dpi = 353 µm), not a microscope's.
PLAUSIBLE_MPP = (0.05, 20.0)
MPP_TOLERANCE = 0.03
# Of the KPIs challenge, whose organisers say 20× without µm.
KPIS_MPP = 0.5


def magnification_to_mpp(magnification: float) -> float:
    """µm per pixel of a magnification: 40× is 0.25, 10× is 1.0."""
    return 10.0 / magnification


def mean_plausible_mpp(values: Iterable[float]) -> float | None:
    """Mean of a file's statements (in x and y), None where there is no plausible one."""
    plausible = [value for value in values if PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1]]
    return sum(plausible) / len(plausible) if plausible else None


def resolve_mpp(
    tag: float | None, override: float | None, pitch: float | None, where: str, fiducial: float | None = None
) -> tuple[float, dict[str, float]]:
    """Settle µm per level-0 pixel from up to four witnesses that must agree within 3 %.

    Parameters
    ----------
    tag, override, pitch, fiducial
        µm per pixel as said by the file, by the sheet's column mpp, by the 100 µm pitch of the
        Visium lattice, and by the 105 µm fiducials; None where a witness is absent.
    where
        How messages name the slide, such as "slides.tsv, row 3 (B1)".

    Returns
    -------
    mpp : float
        The override, else the tag, else the pitch.
    witnesses : dict
        The witnesses that were present.

    Raises
    ------
    InputError
        When no witness is present, or two of them disagree.
    """
    names = {"override": "column mpp", "tag": "the file's tag", "pitch": "the spot pitch", "fiducial": "the fiducials"}
    values = {"override": override, "tag": tag, "pitch": pitch, "fiducial": fiducial}
    witnesses = {name: float(value) for name, value in values.items() if value is not None}
    settling = [name for name in ("override", "tag", "pitch") if name in witnesses]
    if not settling:
        raise InputError(f"{where}: nothing says how large a pixel is; give µm per pixel in column mpp.")
    chosen = settling[0]
    for one, other in itertools.combinations(sorted(witnesses, key=list(names).index), 2):
        if max(witnesses[one], witnesses[other]) > (1 + MPP_TOLERANCE) * min(witnesses[one], witnesses[other]):
            said = "mpp is" if one == "override" else f"{names[one]} says"
            raise InputError(
                f"{where}: {said} {witnesses[one]:.4g} but {names[other]} says {witnesses[other]:.4g}; give the "
                f"full-resolution image, set mpp to {witnesses[other]:.4g}, or give visium_scale if Space Ranger saw a "
                "resized image."
            )
    return witnesses[chosen], witnesses
