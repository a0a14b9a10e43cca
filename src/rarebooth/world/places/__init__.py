"""The places of the miniature world, one file each."""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rarebooth.world.place import Place

PLACES = (
    "studio",
    "jungle",
    "snow",
    "beach",
    "cobblestone_street",
    "pink_fabric",
    "wooden_floor",
    "city",
    "mountain",
    "blue_house",
    "wheat_field",
    "autumn_leaves",
    "sunflowers",
    "purple_rug",
    "eiffel_tower",
    "crowded_street",
    "dirt_road",
    "water",
    "milk",
    "mirror",
    "white_rug",
)
"""Names of places, which are the names of their files; captions use their ``phrases``."""


@cache
def load_place(name: str) -> "Place":
    """The place of a name, loaded on first use.

    Raises:
        KeyError: no such place.
    """
    if name not in PLACES:
        raise KeyError(f"no place {name!r}; there are: {', '.join(PLACES)}")
    return import_module(f"{__name__}.{name}").PLACE
