"""A sitting plush bear: round ears, snout, belly patch, a bow, and feet that show their pads."""

from collections.abc import Mapping

from rarebooth.world.solids import ball, drum, ellipsoid, length, melt, rod
from rarebooth.world.tensors import Sizes, Vec
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("plush", "main", patterned=True),
    Part("belly", "third"),
    Part("snout and pads", "third"),
    Part("bow", "second"),
    Part("eyes and nose", "black"),
)

_NECK = 0.58


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    head, ear = s["head"], s["ear"]
    top = _NECK + head * 1.42 + ear * 1.05
    return max(s["fat"] + 0.24, head * 0.85 + ear), top, 0.5


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    fat, head, ear, reach = s["fat"], s["head"], s["ear"], s["reach"]
    side = p.x.abs()
    # The bear's middle is behind the box's, because its legs point forwards.
    z = p.z + 0.14
    trunk = ellipsoid(p.x, p.y - 0.34, z, fat, 0.35, 0.27)
    hy = p.y - _NECK - head * 0.66
    skull = ellipsoid(p.x, hy, z - 0.04, head * 1.1, head * 0.92, head * 0.92)
    arms = rod(side, p.y, z, (fat * 0.72, 0.52, 0.02), (fat + 0.1, 0.3 + reach, 0.16), 0.105, 0.12)
    legs = rod(side, p.y, z, (0.14, 0.15, 0.1), (0.245, 0.16, 0.44), 0.13)
    feet = ellipsoid(side - 0.255, p.y - 0.18, z - 0.5, 0.155, 0.185, 0.085)
    ex, ey = side - head * 0.85, hy - head * 0.76
    ears = ellipsoid(ex, ey, z, ear, ear, 0.075)
    plush = melt(trunk, skull, 0.05).minimum(arms).minimum(melt(legs, feet, 0.04)).minimum(ears)
    belly = ellipsoid(p.x, p.y - 0.34, z - 0.13, fat * 0.72, 0.24, 0.165)
    snout = ellipsoid(p.x, hy + head * 0.3, z - head * 0.84, head * 0.52, head * 0.4, head * 0.45)
    inner = drum(length(ex, ey), z - 0.055, ear * 0.6, 0.035, 0.02)
    pads = drum(length(side - 0.255, (p.y - 0.18) * 0.8), z - 0.56, 0.105, 0.04, 0.02)
    nose = ellipsoid(p.x, hy + head * 0.13, z - head * 1.22, head * 0.22, head * 0.16, head * 0.13)
    eyes = ball(side - head * 0.4, hy - head * 0.2, z - head * 0.86 - 0.01, 0.05)
    bow = rod(side, p.y, z, (0.0, 0.56, 0.27), (0.15, 0.57, 0.25), 0.04, 0.095)
    return [
        Piece(0, plush),
        Piece(1, belly),
        Piece(2, snout.minimum(inner).minimum(pads)),
        Piece(3, bow),
        Piece(4, nose.minimum(eyes)),
    ]


def _spot(s: Mapping[str, float]) -> Spot:
    return Spot(0.0, 0.34, min(0.17, s["fat"] * 0.55))


TOY = Toy(
    parts=PARTS,
    sizes={
        "fat": (0.25, 0.36),
        "head": (0.26, 0.34),
        "ear": (0.11, 0.19),
        "reach": (-0.06, 0.26),
    },
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=1,
    turn=0.75,
    closer=1.02,
    gloss=0.0,
)
