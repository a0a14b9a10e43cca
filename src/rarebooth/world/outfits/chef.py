"""A tall white toque and a white jacket with two rows of black buttons."""

from torch import Tensor

from rarebooth.world.colours import PALETTE
from rarebooth.world.figure import Figure, Place3
from rarebooth.world.garments import buttons, hat_extent, jacket, on_head
from rarebooth.world.outfit import Outfit
from rarebooth.world.solids import drum, ellipsoid, length
from rarebooth.world.tensors import Vec, mix, rgb
from rarebooth.world.toy import Part, Piece

_PUFF = 0.09
"""How far the puffed top stands out over the band."""

_TALL = 0.46


def _extent(f: Figure) -> Place3:
    return hat_extent(f, f.crown_radius + _PUFF, _TALL)


def _pieces(p: Vec, f: Figure) -> list[Piece]:
    hat = on_head(p, f)
    band = drum(length(hat.x, hat.z), hat.y - 0.13, f.crown_radius, 0.15, 0.02)
    wide = f.crown_radius + _PUFF
    puff = ellipsoid(hat.x, hat.y - _TALL + 0.14, hat.z, wide, 0.14, wide)
    return [Piece(0, band.minimum(puff)), Piece(1, jacket(p, f, 0.04, -0.25, 0.45))]


def _paint(p: Vec, part: Tensor, colour: Tensor, f: Figure) -> Tensor:
    ink = (part == 1) & buttons(p, f, 0.05)
    return mix(colour, rgb(PALETTE["black"], colour), ink.to(colour.dtype))


OUTFIT = Outfit(
    phrases=("in a chef outfit", "wearing a chef outfit", "in a chef costume"),
    parts=(Part("toque", "white"), Part("jacket", "white")),
    pieces=_pieces,
    extent=_extent,
    paint=_paint,
)
