"""Contact sheets: many pictures of the miniature world in one image.

``python -m rarebooth.world.contact_sheet``, run where ``docs/pictures`` is, renews the two there.
"""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from rarebooth.world.places import PLACES
from rarebooth.world.render import render
from rarebooth.world.scene import Scene
from rarebooth.world.toys import TOYS

_COLUMNS = 12


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


def write_documentation_sheets(folder: Path) -> None:
    """Write ``world-toys.png`` (toys by instances) and ``world-places.png`` (places by toys)."""
    instances = [Scene(toy, number, "studio", number) for toy in TOYS for number in range(_COLUMNS)]
    places = [
        Scene(TOYS[(row + column) % len(TOYS)], 100 + row * _COLUMNS + column, place, column)
        for row, place in enumerate(PLACES)
        for column in range(_COLUMNS)
    ]
    for name, scenes in (("world-toys.png", instances), ("world-places.png", places)):
        # 256 colours keep the files small; dithering hides the steps.
        sheet = contact_sheet(scenes, _COLUMNS).quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3)
        sheet.save(folder / name, optimize=True)


if __name__ == "__main__":
    write_documentation_sheets(Path("docs/pictures"))
