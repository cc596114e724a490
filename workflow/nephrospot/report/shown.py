"""Which slides of a large cohort the page draws: few enough for one file, chosen so that nothing is hidden."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

MOST_SLIDES = 20


def choose_shown(slides: Sequence[str], correlations: pd.DataFrame, most: int = MOST_SLIDES) -> list[str]:
    """All slides of a small cohort; of a large one those from the lowest to the highest r, in even steps of rank.

    Parameters
    ----------
    slides
        In the order wanted.
    correlations
        Of `nephrospot.correlate.correlate`; a slide's rank is by the mean r over its methods and comparisons.

    Returns
    -------
    list of str
        At most ``most``, in the order of ``slides``; those without an r only where there is room.
    """
    if len(slides) <= most:
        return list(slides)
    own = correlations[correlations["level"].str.startswith("slide:")]
    r = own["r"].groupby(own["level"].str.removeprefix("slide:")).mean().reindex(slides)
    ranked = r.dropna().sort_values(kind="stable").index
    steps = np.unique(np.linspace(0, max(len(ranked) - 1, 0), most).round().astype(int))
    chosen = [ranked[step] for step in steps if len(ranked)]
    chosen += r[r.isna()].index[: most - len(chosen)].tolist()
    return [slide for slide in slides if slide in chosen]
