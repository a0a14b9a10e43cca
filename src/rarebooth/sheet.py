"""Contact sheets: rows of pictures with a label, for a person to judge at a glance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 6
LABEL_HEIGHT = 18
SMALLEST_TILE = 128
QUALITY = 75
"""WebP quality where a sheet need not be exact."""

PAPER = (250, 250, 248)
INK = (40, 40, 40)


@dataclass(frozen=True)
class Row:
    """A labelled row of pictures, uint8 [N, size, size, 3]."""

    label: str
    pictures: np.ndarray


def contact_sheet(rows: Sequence[Row], captions: Sequence[str] = ()) -> Image.Image:
    """Tile rows into one picture, each under its label; ``captions`` stand under the last row.

    Pictures smaller than 128 px are enlarged by whole numbers without smoothing, so that every
    pixel stays what the model drew.
    """
    tile = max(SMALLEST_TILE, *(row.pictures.shape[1] for row in rows))
    columns = max(len(row.pictures) for row in rows)
    font = ImageFont.load_default(size=12)
    width = GAP + columns * (tile + GAP)
    height = GAP + len(rows) * (LABEL_HEIGHT + tile + GAP) + (LABEL_HEIGHT if captions else 0)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    top = GAP
    for row in rows:
        pen.text((GAP, top), row.label, fill=INK, font=font)
        top += LABEL_HEIGHT
        for column, picture in enumerate(row.pictures):
            sheet.paste(_enlarged(picture, tile), (GAP + column * (tile + GAP), top))
        top += tile + GAP
    for column, caption in enumerate(captions):
        text = _shortened(caption, tile, font)
        pen.text((GAP + column * (tile + GAP), top), text, fill=INK, font=font)
    return sheet


def _enlarged(picture: np.ndarray, tile: int) -> Image.Image:
    image = Image.fromarray(picture)
    factor = max(1, tile // image.width)
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _shortened(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    while font.getlength(text) > width and len(text) > 1:
        text = text[:-2].rstrip() + "…"
    return text
