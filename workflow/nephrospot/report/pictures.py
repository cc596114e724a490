"""Pictures inside the page: as data, and small enough together."""

from __future__ import annotations

import base64
import bisect
import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from PIL import Image

# Longest side in pixels and JPEG quality, from what was drawn to what is still worth a look.
LADDER = ((None, None), (1400, 78), (1100, 74), (900, 72), (720, 70), (560, 66), (420, 60), (320, 55))


def embed_svg(svg: str) -> str:
    """An SVG as a data address; most of it stays readable, which is shorter than base64."""
    return "data:image/svg+xml;charset=utf-8," + quote(svg, safe=" ~()*!.'/:;=@&+$,?-_[]|")


def embed_jpegs(paths: Sequence[str | Path], budget_bytes: int) -> tuple[dict[str, str], int | None]:
    """JPEGs as data addresses that fit a budget together, all made smaller by the same rule where they don't.

    Parameters
    ----------
    paths
        Pictures; one that stands twice on the page stands twice here.
    budget_bytes
        What the addresses may add up to.

    Returns
    -------
    addresses : {path: address}
        Pictures beyond the budget at the smallest size are left out, the last first.
    longest_px : int or None
        To which longest side the pictures were shrunk; None where they are as drawn.
    """
    paths = [str(path) for path in paths]

    @functools.cache
    def encode(rung: int) -> dict[str, str]:
        return {path: _encode(path, *LADDER[rung]) for path in dict.fromkeys(paths)}

    def fits(rung: int) -> bool:
        return sum(len(encode(rung)[path]) for path in paths) <= budget_bytes

    # Pictures of hundreds of slides take long to shrink, so few rungs are tried; as drawn there is nothing to do.
    rung = 0 if fits(0) else bisect.bisect_left(range(len(LADDER)), True, lo=1, key=fits)
    if rung < len(LADDER):
        return encode(rung), LADDER[rung][0]
    (longest_px, _), encoded = LADDER[-1], encode(len(LADDER) - 1)
    kept, total = {}, 0
    for path in paths:
        total += len(encoded[path])
        if total > budget_bytes:
            break
        kept[path] = encoded[path]
    return kept, longest_px


def _encode(path: str, longest_px: int | None, quality: int | None) -> str:
    content = Path(path).read_bytes()
    if longest_px is not None:
        with Image.open(io.BytesIO(content)) as image:
            if max(image.size) > longest_px or len(content) > 60_000:
                image.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
                buffer = io.BytesIO()
                image.convert("RGB").save(buffer, format="JPEG", quality=quality, optimize=True)
                content = min(content, buffer.getvalue(), key=len)
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")


def list_pictures(overlays: Mapping[tuple[str, str], Mapping[str, str | Path]]) -> list[str]:
    """Paths of all overlays, overviews before close-ups, so that a tight budget keeps one for every slide."""
    return [str(parts[kind]) for kind in ("overview", "regions") for parts in overlays.values() if parts.get(kind)]
