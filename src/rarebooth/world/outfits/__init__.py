"""The outfits of the miniature world, one file each, and toys that wear them."""

from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from rarebooth.world.toy import Piece, Toy
from rarebooth.world.toys import load_toy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from rarebooth.world.outfit import Outfit
    from rarebooth.world.tensors import Sizes, Vec

OUTFITS = (
    "red_hat",
    "santa_hat",
    "rainbow_scarf",
    "top_hat_and_monocle",
    "chef",
    "firefighter",
    "police",
    "pink_glasses",
    "yellow_shirt",
    "wizard",
)
"""Names of outfits, which are the names of their files; captions use their ``phrases``."""


@cache
def load_outfit(name: str) -> "Outfit":
    """The outfit of a name, loaded on first use.

    Raises:
        ValueError: no such outfit.
    """
    if name not in OUTFITS:
        raise ValueError(f"no outfit {name!r}; there are: {', '.join(OUTFITS)}")
    return import_module(f"{__name__}.{name}").OUTFIT


@cache
def dressed(noun: str, outfit: str | None) -> Toy:
    """The toy of a class noun in an outfit, or as it is for None.

    The parts of the outfit follow the toy's own and carry neither pattern nor emblem.

    Raises:
        KeyError: no such toy.
        ValueError: no such outfit, or a toy that cannot wear any.
    """
    toy = load_toy(noun)
    if outfit is None:
        return toy
    worn, figure, own = load_outfit(outfit), toy.figure, len(toy.parts)
    if figure is None:
        raise ValueError(f"a {noun} wears no {outfit!r}: outfits are for toys with a figure")

    def extent(sizes: "Mapping[str, float]") -> tuple[float, float, float]:
        bare = toy.extent(sizes)
        if worn.extent is None:
            return bare
        clothed = worn.extent(figure(sizes))
        wide, tall, deep = (max(a, float(b)) for a, b in zip(bare, clothed, strict=True))
        return wide, tall, deep

    def pieces(point: "Vec", sizes: "Sizes") -> list[Piece]:
        clothes = worn.pieces(point, figure(sizes))
        return toy.pieces(point, sizes) + [Piece(own + p.part, p.distance) for p in clothes]

    def paint(point: "Vec", part: "Tensor", colour: "Tensor", sizes: "Sizes") -> "Tensor":
        if toy.paint is not None:
            colour = toy.paint(point, part, colour, sizes)
        if worn.paint is not None:
            colour = worn.paint(point, part - own, colour, figure(sizes))
        return colour

    return replace(
        toy,
        parts=toy.parts + worn.parts,
        extent=extent,
        pieces=pieces,
        paint=paint,
        closer=toy.closer if worn.extent is None else min(toy.closer, _CLOSER),
    )


_CLOSER = 1.0
"""A hat fills the box around the toy to the top."""
