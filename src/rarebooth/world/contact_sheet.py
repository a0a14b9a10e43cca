"""Contact sheets: many pictures of the miniature world in one image."""

from collections.abc import Sequence

from PIL import Image

from rarebooth.world.render import render
from rarebooth.world.scene import Scene


def contact_sheet(scenes: Sequence[Scene], columns: int, size: int = 128) -> Image.Image:
    """Tile rendered scenes, row by row.

    Args:
        scenes: what to show.
        columns: tiles per row.
        size: edge of a tile in pixels, even.
    """
    images = render(scenes, size).images.numpy()
    rows = -(-len(scenes) // columns)
    sheet = Image.new("RGB", (columns * size, rows * size), "white")
    for number, image in enumerate(images):
        at = (number % columns * size, number // columns * size)
        sheet.paste(Image.fromarray(image), at)
    return sheet
