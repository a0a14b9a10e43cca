"""A blue peaked cap with a golden badge, and a dark blue uniform with golden buttons."""

from torch import Tensor

from rarebooth.world.colours import PALETTE
from rarebooth.world.figure import Figure, Place3
from rarebooth.world.garments import buttons, hat_extent, jacket, on_head
from rarebooth.world.outfit import Outfit
from rarebooth.world.solids import drum, ellipsoid, length
from rarebooth.world.tensors import Vec, mix, rgb
from rarebooth.world.toy import Part, Piece

_WIDE = 0.12
_TALL = 0.28


def _extent(f: Figure) -> Place3:
    return hat_extent(f, f.crown_radius + _WIDE + 0.03, _TALL)


def _pieces(p: Vec, f: Figure) -> list[Piece]:
    hat = on_head(p, f)
    radial = length(hat.x, hat.z)
    band = drum(radial, hat.y - 0.05, f.crown_radius + 0.01, 0.09, 0.02)
    # The top rises to the front.
    wide = f.crown_radius + _WIDE
    top = ellipsoid(hat.x, hat.y - 0.17 - 0.12 * hat.z, hat.z, wide, 0.09, wide)
    peak = drum(length(hat.x, hat.z - 0.1), hat.y + 0.01, f.crown_radius + 0.05, 0.03, 0.025)
    badge = ellipsoid(hat.x, hat.y - 0.13, hat.z - wide + 0.05, 0.08, 0.09, 0.06)
    return [
        Piece(0, top),
        Piece(1, band.minimum(peak.maximum(0.05 - hat.z))),
        Piece(2, badge),
        Piece(3, jacket(p, f, 0.04, -0.25, 0.3)),
    ]


def _paint(p: Vec, part: Tensor, colour: Tensor, f: Figure) -> Tensor:
    cloth = ((part == 0) | (part == 3)).to(colour.dtype)
    colour = colour * (1.0 - 0.72 * cloth)
    ink = (part == 3) & buttons(p, f, 0.05)
    return mix(colour, rgb(PALETTE["yellow"], colour), ink.to(colour.dtype))


OUTFIT = Outfit(
    phrases=("in a police outfit", "wearing a police outfit", "in a police costume"),
    parts=(
        Part("cap", "blue"),
        Part("band and peak", "black"),
        Part("badge", "yellow"),
        Part("uniform", "blue"),
    ),
    pieces=_pieces,
    extent=_extent,
    paint=_paint,
)
