"""Contact sheets: many pictures of the miniature world in one image.

``python -m rarebooth.world.contact_sheet``, run where ``docs/pictures`` is, renews those there.
"""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from rarebooth.world.distinct import Pair, nearest_pairs
from rarebooth.world.outfits import OUTFITS
from rarebooth.world.places import PLACES
from rarebooth.world.render import render
from rarebooth.world.scene import Scene
from rarebooth.world.toys import TOYS, load_toy

_COLUMNS = 8
_TILE = 72
_QUALITY = 60


def contact_sheet(scenes: Sequence[Scene], columns: int, size: int = 128) -> Image.Image:
    """Tile rendered scenes, row by row.

    Args:
        scenes: what to show.
        columns: tiles per row.
        size: edge of a tile in pixels, even.
    """
    return tiled([Image.fromarray(image) for image in render(scenes, size).images.numpy()], columns)


def tiled(tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    """Square tiles of one size, row by row."""
    size = tiles[0].width
    sheet = Image.new("RGB", (columns * size, -(-len(tiles) // columns) * size), "white")
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % columns * size, number // columns * size))
    return sheet


def pairs_sheet(pairs: Sequence[Pair], size: int = 96) -> Image.Image:
    """Show the two of each pair side by side in the studio, two pairs a row.

    Args:
        pairs: which individuals, an even number of pairs.
        size: edge of a tile in pixels, even.
    """
    scenes = [Scene(p.toy, number, "studio", 0) for p in pairs for number in (p.first, p.second)]
    left, right = (
        contact_sheet(half, 2, size) for half in (scenes[: len(pairs)], scenes[len(pairs) :])
    )
    gap = size // 4
    sheet = Image.new("RGB", (left.width + gap + right.width, left.height), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + gap, 0))
    return sheet


def write_documentation_sheets(folder: Path) -> None:
    """Write the world's four pictures, ``world-*.webp``.

    These are toys by instances, places by toys, outfits by wearers, and the 20 most alike pairs for
    training.
    """
    instances = [Scene(toy, number, "studio", number) for toy in TOYS for number in range(_COLUMNS)]
    places = [
        Scene(TOYS[(row + column) % len(TOYS)], 100 + row * _COLUMNS + column, place, column)
        for row, place in enumerate(PLACES)
        for column in range(_COLUMNS)
    ]
    wearers = [toy for toy in TOYS if load_toy(toy).figure is not None]
    outfits = [
        Scene(toy, 200 + column, "studio", column, outfit=outfit)
        for toy in wearers
        for column, outfit in enumerate(OUTFITS)
    ]
    for name, sheet in (
        ("world-toys.webp", contact_sheet(instances, _COLUMNS, _TILE)),
        ("world-places.webp", contact_sheet(places, _COLUMNS, _TILE)),
        ("world-outfits.webp", contact_sheet(outfits, len(OUTFITS), _TILE)),
        ("world-nearest-pairs.webp", pairs_sheet(nearest_pairs())),
    ):
        sheet.save(folder / name, quality=_QUALITY, method=6)


if __name__ == "__main__":
    write_documentation_sheets(Path("docs/pictures"))
