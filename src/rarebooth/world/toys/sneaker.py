"""A sneaker: low upper, thick sole, laces, toe cap and heel tab."""

from collections.abc import Mapping

from torch import Tensor

from rarebooth.world.solids import box, ellipsoid, melt, rod
from rarebooth.world.tensors import Sizes, Vec, mix, rgb
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("upper", "main", patterned=True),
    Part("toe", "second"),
    Part("heel", "main"),
    Part("laces", "third"),
    Part("sole", "white"),
    Part("lining", "black"),
)


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    return 0.29, s["tall"] + 0.12, s["long"] + 0.06


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    tall, long, wide = s["tall"], s["long"], s["wide"]
    sole = box(p.x, p.y - 0.055, p.z, wide + 0.025, 0.06, long + 0.02, 0.05)
    back = ellipsoid(p.x, p.y - 0.16, p.z + long * 0.42, wide, tall - 0.12, long * 0.56)
    toe_body = ellipsoid(p.x, p.y - 0.13, p.z - long * 0.35, wide, 0.2, long * 0.62)
    rise = rod(p.x, p.y, p.z, (0.0, tall * 0.72, -long * 0.38), (0.0, 0.2, long * 0.4), 0.17)
    upper = melt(melt(back, toe_body, 0.1), rise, 0.1).maximum(p.y - tall).maximum(0.07 - p.y)
    toe = ellipsoid(p.x, p.y - 0.11, p.z - long * 0.62, wide + 0.005, 0.17, long * 0.38)
    toe = toe.maximum(0.07 - p.y).maximum(long * 0.7 - p.z)
    heel = box(p.x, p.y - tall * 0.62, p.z + long * 0.93, 0.1, tall * 0.36, 0.06, 0.04)
    lining = ellipsoid(p.x, p.y - tall + 0.005, p.z + long * 0.42, wide * 0.66, 0.03, long * 0.33)
    # Laces climb the slope of the instep: coordinates along it and off it.
    slope = (tall * 0.72 - 0.2) / (long * 0.78)
    off = p.y - (0.2 + 0.17 - (p.z - long * 0.4) * slope) - 0.01
    step = 0.115
    along = p.z - long * 0.12
    row = along - (along / step).round().clamp(-1.0, 1.0) * step
    lace = box(p.x, off, row, 0.13, 0.035, 0.032, 0.025) * 0.8
    return [
        Piece(0, upper),
        Piece(1, toe),
        Piece(2, heel),
        Piece(3, lace),
        Piece(4, sole),
        Piece(5, lining),
    ]


def _spot(s: Mapping[str, float]) -> Spot:
    return Spot(-s["long"] * 0.3, s["tall"] * 0.6, 0.14)


def _paint(p: Vec, part: Tensor, colour: Tensor, s: Sizes) -> Tensor:
    del s
    stripe = (part == 4) & ((p.y - 0.06).abs() < 0.015)
    return mix(colour, rgb((0.15, 0.15, 0.17), colour), stripe.to(colour.dtype))


TOY = Toy(
    parts=PARTS,
    sizes={"tall": (0.42, 0.56), "long": (0.46, 0.54), "wide": (0.19, 0.23)},
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=0,
    emblem_axis="x",
    paint=_paint,
    facing=1.0,
    turn=0.65,
    closer=0.87,
)
