"""A candle in a holder with a handle, wick and flame."""

from collections.abc import Mapping

from torch import Tensor

from rarebooth.world.solids import drum, ellipsoid, length, ring, rod
from rarebooth.world.tensors import Sizes, Vec, mix, ramp, rgb
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("wax", "main", patterned=True),
    Part("dish", "second"),
    Part("collar", "third"),
    Part("wick", "black"),
    Part("flame", "yellow"),
)


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    return s["dish"] + 0.19, s["tall"] + 0.36, s["dish"] + 0.02


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    tall, r, dish = s["tall"], s["radius"], s["dish"]
    radial = length(p.x, p.z)
    wax = drum(radial, p.y - tall * 0.5 - 0.04, r, tall * 0.5, 0.035)
    plate = drum(radial, p.y - 0.035, dish, 0.035, 0.02).minimum(
        ring(radial, p.y - 0.075, dish - 0.03, 0.03)
    )
    loop = ring(length(p.x + dish + 0.06, p.y - 0.13), p.z, 0.095, 0.03)
    collar = ring(radial, p.y - 0.12, r, 0.05)
    wick = rod(p.x, p.y - tall, p.z, (0.0, 0.0, 0.0), (0.0, 0.12, 0.0), 0.018)
    y = p.y - tall - 0.2
    flame = ellipsoid(p.x, y, p.z, 0.065, 0.105, 0.065).minimum(
        rod(p.x, y, p.z, (0.0, 0.03, 0.0), (0.0, 0.13, 0.0), 0.04, 0.008)
    )
    return [
        Piece(0, wax),
        Piece(1, plate.minimum(loop)),
        Piece(2, collar),
        Piece(3, wick),
        Piece(4, flame),
    ]


def _spot(s: Mapping[str, float]) -> Spot:
    return Spot(0.0, s["tall"] * 0.58, s["radius"] * 0.72)


def _paint(p: Vec, part: Tensor, colour: Tensor, s: Sizes) -> Tensor:
    heat = (part == 4).to(colour.dtype)
    tip = ramp(p.y - s["tall"], 0.14, 0.3)
    glow = mix(rgb((1.0, 0.97, 0.6), colour), rgb((1.0, 0.55, 0.05), colour), tip) * 1.5
    return mix(colour, glow, heat)


TOY = Toy(
    parts=PARTS,
    sizes={"tall": (0.6, 0.82), "radius": (0.2, 0.27), "dish": (0.36, 0.44)},
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=0,
    paint=_paint,
    gloss=0.3,
)
