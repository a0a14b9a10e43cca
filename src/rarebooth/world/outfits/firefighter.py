"""A red helmet with a yellow badge and crest, and a dark coat with yellow bands."""

from torch import Tensor

from rarebooth.world.colours import PALETTE
from rarebooth.world.figure import Figure, Place3
from rarebooth.world.garments import along, bone, hat_extent, jacket, on_head
from rarebooth.world.outfit import Outfit
from rarebooth.world.solids import drum, ellipsoid, length, ring
from rarebooth.world.tensors import Vec, mix, rgb
from rarebooth.world.toy import Part, Piece

_BRIM = 0.15
_TALL = 0.3


def _extent(f: Figure) -> Place3:
    return hat_extent(f, f.crown_radius + _BRIM + 0.03, _TALL)


def _pieces(p: Vec, f: Figure) -> list[Piece]:
    hat = on_head(p, f)
    wide = f.crown_radius + 0.04
    dome = ellipsoid(hat.x, hat.y, hat.z, wide, _TALL - 0.02, wide + 0.02)
    # The brim sinks and grows towards the neck.
    slope = hat.y - 0.15 * hat.z.clamp(-0.4, 0.0)
    rim = drum(length(hat.x, hat.z + 0.06), slope, f.crown_radius + _BRIM - 0.03, 0.035, 0.03)
    crest = ring(length(hat.y * 0.9, hat.z), hat.x, wide + 0.005, 0.035)
    badge = ellipsoid(hat.x, hat.y - 0.12, hat.z - wide + 0.02, 0.09, 0.12, 0.06)
    return [
        Piece(0, dome.minimum(rim)),
        Piece(1, crest.maximum(-hat.y).minimum(badge)),
        Piece(2, jacket(p, f, 0.045, -0.3, 0.35)),
    ]


def _paint(p: Vec, part: Tensor, colour: Tensor, f: Figure) -> Tensor:
    way = along(p, f.trunk)
    band = ((way - 0.05).abs() < 0.12) | ((way - 0.75).abs() < 0.12)
    side = Vec(p.x.abs(), p.y, p.z)
    band = band | ((along(side, f.arm) < 0.6) & (bone(side, f.arm, 0.06) < 0.0))
    ink = (part == 2) & band
    return mix(colour, rgb(PALETTE["yellow"], colour), ink.to(colour.dtype))


OUTFIT = Outfit(
    phrases=(
        "in a firefighter outfit",
        "wearing a firefighter outfit",
        "in a firefighter costume",
    ),
    parts=(Part("helmet", "red"), Part("crest and badge", "yellow"), Part("coat", "black")),
    pieces=_pieces,
    extent=_extent,
    paint=_paint,
)
