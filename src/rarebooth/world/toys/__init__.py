"""The toys of the miniature world, one file per class noun."""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rarebooth.world.toy import Toy

TOYS = (
    "backpack",
    "bowl",
    "can",
    "candle",
    "cat",
    "clock",
    "boot",
    "dog",
    "sneaker",
    "teapot",
    "vase",
    "stuffed animal",
    "toy",
    "glasses",
    "cartoon",
)
"""Class nouns; the file of a noun has its name, with underscores for spaces."""


@cache
def load_toy(noun: str) -> "Toy":
    """The toy of a class noun, loaded on first use.

    Raises:
        KeyError: no such toy.
    """
    if noun not in TOYS:
        raise KeyError(f"no toy {noun!r}; there are: {', '.join(TOYS)}")
    return import_module(f"{__name__}.{noun.replace(' ', '_')}").TOY
