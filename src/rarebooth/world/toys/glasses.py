"""Sunglasses: two big rims with dark lenses, a bridge, and temples that reach behind."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from rarebooth.world.solids import length, rod
from rarebooth.world.tensors import Sizes, Vec, mix, rgb
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("frame", "main", patterned=True),
    Part("temples", "second"),
    Part("lenses", "third"),
)

_FRONT = 0.36
_GAP = 0.09
"""Half the space between the lenses."""


class _Lens(NamedTuple):
    """Coordinates in a lens, and the distance from its outline in the plane."""

    x: Tensor
    y: Tensor
    edge: Tensor


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    wide = 2.0 * s["across"] + _GAP + s["rim"]
    return (
        wide + 0.06,
        2.0 * (s["up"] + s["rim"]) + s["tilt"] * (2.0 * s["across"] + s["rim"]),
        0.49,
    )


def _lens(p: Vec, s: Sizes) -> _Lens:
    across, up = s["across"], s["up"]
    x = p.x.abs() - _GAP - across
    # Cat's eyes: the outer end is higher.
    y = p.y - up - s["rim"] - s["tilt"] * (x + across)
    corner = across.minimum(up) * (0.35 + 0.65 * s["round"])
    qx, qy = x.abs() - across + corner, y.abs() - up + corner
    edge = length(qx.clamp_min(0.0), qy.clamp_min(0.0)) + qx.maximum(qy).clamp_max(0.0) - corner
    return _Lens(x, y, edge * 0.9)


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    across, up, rim = s["across"], s["up"], s["rim"]
    lens = _lens(p, s)
    z = p.z - _FRONT
    rims = length(lens.edge, z) - rim
    level = up * 1.45 + rim
    bridge = rod(p.x.abs(), p.y, z, (0.0, level + 0.03, 0.02), (_GAP + 0.02, level, 0.0), 0.06)
    hinge = 2.0 * across + _GAP
    high = up * 1.3 + rim + s["tilt"] * 2.0 * across
    side = p.x.abs()
    bend = (hinge + 0.07, high + 0.02, -0.28)
    temples = rod(side, p.y, p.z, (hinge, high, _FRONT), bend, 0.06).minimum(
        rod(side, p.y, p.z, bend, (hinge + 0.05, high - 0.24, -0.42), 0.06)
    )
    glass = lens.edge.maximum(z.abs() - 0.025)
    return [Piece(0, rims.minimum(bridge)), Piece(1, temples), Piece(2, glass)]


def _spot(s: Mapping[str, float]) -> Spot:
    rise = s["tilt"] * s["across"]
    return Spot(_GAP + s["across"], s["up"] + s["rim"] + rise, min(s["across"], s["up"]) * 0.6)


def _paint(p: Vec, part: Tensor, colour: Tensor, s: Sizes) -> Tensor:
    lens = _lens(p, s)
    glass = (part == 2).to(colour.dtype)
    dark = colour * 0.25
    along = p.x - p.x.sign() * (_GAP + s["across"]) + lens.y
    streak = ((along + 0.08).abs() < 0.05) & (p.z > _FRONT)
    dark = mix(dark, rgb((0.95, 0.95, 1.0), colour), 0.55 * streak.to(colour.dtype))
    return mix(colour, dark, glass)


TOY = Toy(
    parts=PARTS,
    sizes={
        "across": (0.26, 0.34),
        "up": (0.23, 0.34),
        "round": (0.0, 1.0),
        "tilt": (0.0, 0.3),
        "rim": (0.07, 0.095),
    },
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=2,
    paint=_paint,
    facing=0.45,
    turn=0.3,
    closer=0.84,
    gloss=0.5,
)
