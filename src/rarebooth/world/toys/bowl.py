"""A bowl: a hollow half ball with rim and foot."""

from collections.abc import Mapping

from rarebooth.world.solids import drum, ellipsoid, length, ring
from rarebooth.world.tensors import Sizes, Vec
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("outside", "main", patterned=True),
    Part("inside", "main"),
    Part("rim", "second"),
    Part("foot", "third"),
)


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    return s["wide"] + 0.05, s["tall"] + 0.12, s["wide"] + 0.05


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    w, h = s["wide"], s["tall"]
    y = p.y - h - 0.06
    radial = length(p.x, p.z)
    solid = ellipsoid(p.x, y, p.z, w, h, w)
    hollow = ellipsoid(p.x, y - 0.03, p.z, w - 0.05, h - 0.05, w - 0.05)
    outside = solid.maximum(-hollow).maximum(y)
    # The lining follows the hollow a hair above the outer shell, so that it wins inside only.
    lining = (hollow.abs() - 0.008).maximum(y + 0.01)
    rim = ring(radial, y, w - 0.02, 0.032)
    foot = drum(radial, p.y - 0.045, w * s["foot"], 0.05, 0.02)
    return [Piece(0, outside), Piece(1, lining), Piece(2, rim), Piece(3, foot)]


def _spot(s: Mapping[str, float]) -> Spot:
    return Spot(0.0, s["tall"] * 0.62 + 0.06, s["tall"] * 0.4)


TOY = Toy(
    parts=PARTS,
    sizes={"wide": (0.45, 0.55), "tall": (0.34, 0.46), "foot": (0.4, 0.55)},
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=0,
    gloss=0.5,
)
