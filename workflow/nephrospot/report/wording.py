"""Numbers and names as a reader expects them."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase

import numpy as np

MINUS = "−"
REFERENCES = {
    "pathologist": "the pathologist",
    "rctd": "the transcripts (RCTD)",
    "nnls": "the transcripts (least squares)",
}


def tell_reference(reference: str) -> str:
    """'the pathologist' for "pathologist", and so on."""
    return REFERENCES.get(reference, reference)


def tell_value(value: float | None, digits: int) -> str:
    """A number with a true minus and thousands marked, "–" where it isn't known."""
    if value is None or not np.isfinite(value):
        return "–"
    text = f"{value:,.{digits}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text.replace("-", MINUS)


def tell_signed(value: float | None, digits: int) -> str:
    """As `tell_value`, with a plus before what is above zero."""
    text = tell_value(value, digits)
    return f"+{text}" if value is not None and np.isfinite(value) and float(f"{value:.{digits}f}") > 0 else text


def join_words(words: Sequence[str], separator: str = ", ") -> str:
    """'a, b and c'."""
    words = [str(word) for word in words]
    if len(words) < 2:
        return "".join(words)
    return separator.join(words[:-1]) + (" and " if separator == ", " else f"{separator}") + words[-1]


def name_slides(slides: Sequence[str], most: int = 20) -> str:
    """All of a few slides, or how many there are and the first three."""
    if len(slides) <= most:
        return join_words(slides)
    return f"{len(slides):,} slides such as {join_words(slides[:3])}"


def letter(place: int) -> str:
    """a, b, … z, aa, ab, …"""
    more, last = divmod(place, 26)
    return (letter(more - 1) if more else "") + ascii_lowercase[last]
