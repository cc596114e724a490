"""Mistakes in the user's input, told as sentences with a remedy, all at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 1000  # characters of a line: more is a file's content and no sentence


class InputError(ValueError):
    """The input can't be used as it is; the message says what, where and how to mend it.

    Scripts print it without a traceback (`nephrospot.job`), so each line of the
    message must be a whole sentence that makes sense to someone who never saw the code.
    What it quotes from a file is made printable: it goes to terminals and pages.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__("\n".join(map(make_printable, str(message).split("\n"))))


class PassingError(InputError):
    """The input isn't to blame but a full disk, another process, a missing program: the same step may pass later."""


class Problems:
    """Collects sentences, so that a user mends everything in one go.

    >>> problems = Problems()
    >>> problems.add("slides.tsv, row 3 (B1): mpp is -1; give µm per pixel, such as 0.25.")
    >>> problems.raise_if_any()
    Traceback (most recent call last):
    ...
    nephrospot.errors.InputError: slides.tsv, row 3 (B1): mpp is -1; give µm per pixel, such as 0.25.
    """

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def add(self, sentence: str) -> None:
        """Keep one sentence; the same sentence is kept once."""
        sentence = make_printable(sentence)
        if sentence not in self.sentences:
            self.sentences.append(sentence)

    def catch(self, function, *args, **kwargs):
        """Call ``function`` and keep its `InputError`; returns None where it raised."""
        try:
            return function(*args, **kwargs)
        except InputError as error:
            for sentence in str(error).splitlines():
                self.add(sentence)
            return None

    def raise_if_any(self) -> None:
        """Raise one `InputError` with a line for each sentence kept."""
        if self.sentences:
            raise InputError("\n".join(self.sentences))


def make_printable(line: str) -> str:
    """A line without signs that would move a terminal's cursor, its middle left out where it is very long."""
    if not line.isprintable():
        line = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in line)
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 3 :]}"


def tell_cause(error: BaseException) -> str:
    """What a library's error says, on one line, short and without a full stop: for the brackets in a sentence."""
    said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return said if len(said) <= 200 else f"{said[:200]}…"


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """' Did you mean …?' for a mistyped name, or the list of options where nothing is near."""
    options = [str(option) for option in options]
    # The time grows with the product of the lengths, and nothing so long is a slip of the pen.
    near = difflib.get_close_matches(str(name)[:200], options, n=1, cutoff=0.6)
    if not near:  # a difference in case alone can score low on short names such as "pt"
        near = [option for option in options if option.lower() == str(name).lower()]
    if near:
        return f"did you mean {near[0]!r}?"
    return f"the options are {', '.join(options)}." if options else "there are no options."
