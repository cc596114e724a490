"""Words, scale bars and legends on pictures."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

INK = "#1c2328"
SMALL = 15
BARS_UM = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@functools.cache
def load_font(size_px: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: it has µ, and looks the same on every machine."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size_px)


def choose_bar(width_px: int, mpp: float) -> int:
    """The longest round length in µm that takes at most a quarter of the picture."""
    fits = [length for length in BARS_UM if length / mpp <= width_px / 4]
    return fits[-1] if fits else BARS_UM[0]


def put_scale_bar(image: Image.Image, mpp: float) -> None:
    """Draw a scale bar with its length into the lower left corner, on a light ground."""
    length_um = choose_bar(image.width, mpp)
    text = f"{length_um // 1000} mm" if length_um >= 1000 else f"{length_um} µm"
    length_px = round(length_um / mpp)
    draw, font = ImageDraw.Draw(image), load_font(SMALL)
    text_px = round(draw.textlength(text, font=font))
    wide = max(length_px, text_px) + 16
    bottom = image.height - 8
    draw.rectangle((8, bottom - 38, 8 + wide, bottom), fill="white")
    draw.rectangle((16, bottom - 11, 16 + length_px, bottom - 7), fill=INK)
    draw.text((16, bottom - 35), text, font=font, fill=INK)


def put_label(image: Image.Image, position: tuple[int, int], text: str) -> None:
    """Write a line of text."""
    ImageDraw.Draw(image).text(position, text, font=load_font(SMALL), fill=INK)


def paste_legend(image: Image.Image, colours: Mapping[str, str]) -> Image.Image:
    """The picture with a strip below it that names every tissue in its colour, in as many lines as it takes."""
    font, line_px = load_font(SMALL), SMALL + 12
    measure = ImageDraw.Draw(image)
    places, left, line = [], 8, 0
    for tissue in colours:
        wide = 26 + round(measure.textlength(tissue, font=font)) + 22
        if left + wide > image.width and left > 8:
            left, line = 8, line + 1
        places.append((left, line))
        left += wide
    strip = Image.new(
        "RGB", (image.width, image.height + (line + 1) * line_px + 4 if colours else image.height), "white"
    )
    strip.paste(image, (0, 0))
    draw = ImageDraw.Draw(strip)
    for (tissue, colour), (left, line) in zip(colours.items(), places, strict=True):
        top = image.height + 4 + line * line_px
        draw.rectangle((left, top + 5, left + 18, top + 18), fill=colour, outline=INK)
        draw.text((left + 26, top + 2), tissue, font=font, fill=INK)
    return strip
