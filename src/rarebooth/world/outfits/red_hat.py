"""A red hat with a broad brim and a dark red band."""

from torch import Tensor

from rarebooth.world.figure import Figure, Place3
from rarebooth.world.garments import brim, hat_extent, on_head
from rarebooth.world.outfit import Outfit
from rarebooth.world.solids import drum, length
from rarebooth.world.tensors import Vec
from rarebooth.world.toy import Part, Piece

_BRIM = 0.17
"""How far the brim stands out."""

_TALL = 0.3


def _extent(f: Figure) -> Place3:
    return hat_extent(f, f.crown_radius + _BRIM, _TALL)


def _pieces(p: Vec, f: Figure) -> list[Piece]:
    hat = on_head(p, f)
    radial = length(hat.x, hat.z)
    # The crown narrows towards its top.
    crown = drum(radial + 0.12 * hat.y, hat.y - _TALL * 0.5, f.crown_radius, _TALL * 0.5, 0.08)
    return [Piece(0, crown.minimum(brim(hat, f.crown_radius + _BRIM)))]


def _paint(p: Vec, part: Tensor, colour: Tensor, f: Figure) -> Tensor:
    hat = on_head(p, f)
    band = (part == 0) & (hat.y > 0.03) & (hat.y < 0.1)
    return colour * (1.0 - 0.7 * band.to(colour.dtype))


OUTFIT = Outfit(
    phrases=("wearing a red hat", "with a red hat", "in a red hat"),
    parts=(Part("hat", "red"),),
    pieces=_pieces,
    extent=_extent,
    paint=_paint,
)
