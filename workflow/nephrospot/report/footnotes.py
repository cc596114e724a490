"""Letters for what a table's cells can't say, and the sentences that they stand for."""

from __future__ import annotations

from html import escape
from string import ascii_lowercase


class Footnotes:
    """Gives every reason a letter, the same one to the same reason.

    >>> notes = Footnotes()
    >>> notes.mark("nothing was predicted")
    '<sup>a</sup>'
    """

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def mark(self, reason: str) -> str:
        """The reason's letter as html; nothing for no reason."""
        if not reason:
            return ""
        return f"<sup>{self._letters.setdefault(reason, _letter(len(self._letters)))}</sup>"

    def render(self) -> str:
        """All reasons in the order of their letters, a paragraph each; html."""
        return "".join(f"<p><sup>{letter}</sup> {escape(reason)}</p>" for reason, letter in self._letters.items())


def _letter(place: int) -> str:
    """a, b, … z, aa, ab, …"""
    more, last = divmod(place, 26)
    return (_letter(more - 1) if more else "") + ascii_lowercase[last]
