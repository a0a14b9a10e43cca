"""A boot: tall shaft, cuff, laces, toe cap and sole."""

from collections.abc import Mapping

from rarebooth.world.solids import drum, ellipsoid, length, melt, rod
from rarebooth.world.tensors import Sizes, Vec
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("leather", "main", patterned=True),
    Part("toe", "second"),
    Part("cuff", "second"),
    Part("laces", "third"),
    Part("sole", "black"),
)


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    return 0.28, s["tall"] + 0.07, s["foot"] + 0.17


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    tall, foot, wide = s["tall"], s["foot"], s["wide"]
    heel = 0.2 - foot
    z = p.z - heel
    toe_z = 2.0 * foot - 0.36
    shaft = drum(length(p.x, z), p.y - (tall + 0.12) * 0.5, wide, (tall - 0.12) * 0.5, 0.04)
    instep = rod(p.x, p.y, z, (0.0, 0.24, 0.0), (0.0, 0.19, toe_z), wide * 0.95, wide * 0.8)
    leather = melt(shaft, instep, 0.14).maximum(0.08 - p.y)
    toe = ellipsoid(p.x, p.y - 0.17, z - toe_z, wide * 0.92, 0.17, 0.22).maximum(0.08 - p.y)
    toe = toe.maximum(toe_z - 0.03 - z)
    cuff = drum(length(p.x, z), p.y - tall, wide + 0.035, 0.06, 0.035)
    print_ = length(p.x, z - z.clamp_min(-0.05).minimum(toe_z + 0.06)) - wide - 0.03
    sole = print_.maximum((p.y - 0.07).abs() - 0.07)
    # The arch sets the heel off.
    sole = sole.maximum(0.1 - length(p.y, z - 0.22))
    step = 0.13
    up = p.y - tall * 0.48
    row = up - (up / step).round().clamp(-1.0, 2.0) * step
    lace = rod(p.x.abs(), row, z - wide - 0.01, (0.0, -0.02, 0.02), (0.12, 0.03, -0.05), 0.03)
    return [
        Piece(0, leather),
        Piece(1, toe),
        Piece(2, cuff),
        Piece(3, lace),
        Piece(4, sole),
    ]


def _spot(s: Mapping[str, float]) -> Spot:
    return Spot(0.2 - s["foot"], s["tall"] * 0.66, 0.15)


TOY = Toy(
    parts=PARTS,
    sizes={"tall": (0.82, 1.08), "foot": (0.36, 0.44), "wide": (0.19, 0.235)},
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=0,
    emblem_axis="x",
    facing=0.75,
    turn=0.75,
)
