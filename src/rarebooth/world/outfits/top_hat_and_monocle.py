"""A black top hat with a gray band, and a golden monocle."""

from torch import Tensor

from rarebooth.world.colours import PALETTE
from rarebooth.world.figure import Figure, Place3
from rarebooth.world.garments import brim, hat_extent, on_head
from rarebooth.world.outfit import Outfit
from rarebooth.world.solids import drum, length, ring
from rarebooth.world.tensors import Vec, mix, rgb
from rarebooth.world.toy import Part, Piece

_BRIM = 0.14
_TALL = 0.42


def _extent(f: Figure) -> Place3:
    return hat_extent(f, f.crown_radius + _BRIM, _TALL)


def _pieces(p: Vec, f: Figure) -> list[Piece]:
    hat = on_head(p, f)
    radial = length(hat.x, hat.z)
    pipe = drum(radial, hat.y - _TALL * 0.5, f.crown_radius, _TALL * 0.5, 0.03)
    away = length(p.x - f.eye[0], p.y - f.eye[1])
    ahead = p.z - f.eye[2] - 0.05
    return [
        Piece(0, pipe.minimum(brim(hat, f.crown_radius + _BRIM))),
        Piece(1, ring(away, ahead, 0.085, 0.03)),
        Piece(2, drum(away, ahead, 0.08, 0.015, 0.01)),
    ]


def _paint(p: Vec, part: Tensor, colour: Tensor, f: Figure) -> Tensor:
    hat = on_head(p, f)
    band = (part == 0) & (hat.y > 0.04) & (hat.y < 0.11)
    return mix(colour, rgb(PALETTE["gray"], colour), band.to(colour.dtype))


OUTFIT = Outfit(
    phrases=(
        "wearing a black top hat and a monocle",
        "with a black top hat and a monocle",
        "in a black top hat and monocle",
    ),
    parts=(Part("hat", "black"), Part("rim", "yellow"), Part("glass", "white")),
    pieces=_pieces,
    extent=_extent,
    paint=_paint,
)
