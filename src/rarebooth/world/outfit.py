"""What an outfit has to say about itself to be worn and drawn."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from rarebooth.world.figure import Figure, Place3
from rarebooth.world.tensors import Vec
from rarebooth.world.toy import Part, Piece


@dataclass(frozen=True)
class Outfit:
    """Something that a toy animal wears.

    ``phrases``: what follows the class noun, DreamBench's own words first. ``parts`` have fixed
    colour words. ``pieces`` are the solids at points [M] on a figure, their part an index into
    ``parts``; ``extent`` the half width (x), height (y) and half depth (z) that enclose them, None
    for what stays within the animal's own.
    ``paint`` may recolour details: (points, part index, colour [3, M], figure) -> colour, where
    the animal's own parts have negative indices.
    """

    phrases: tuple[str, ...]
    parts: tuple[Part, ...]
    pieces: Callable[[Vec, Figure], list[Piece]]
    extent: Callable[[Figure], Place3] | None = None
    paint: Callable[[Vec, Tensor, Tensor, Figure], Tensor] | None = None
