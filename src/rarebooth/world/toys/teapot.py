"""A teapot: round body, spout, handle, lid and knob."""

from collections.abc import Mapping

from rarebooth.world.solids import ball, drum, ellipsoid, length, melt, ring, rod
from rarebooth.world.tensors import Sizes, Vec
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("body", "main", patterned=True),
    Part("lid", "second"),
    Part("handle", "second"),
    Part("spout tip", "third"),
    Part("knob", "third"),
    Part("foot", "third"),
)


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    return s["wide"] + 0.4, s["tall"] * 2 + 0.24, s["wide"] + 0.02


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    w, h, loop = s["wide"], s["tall"], s["loop"]
    radial = length(p.x, p.z)
    y = p.y - h - 0.03
    pot = ellipsoid(p.x, y, p.z, w, h, w)
    spout = rod(p.x, y, p.z, (w * 0.75, -h * 0.3, 0.0), (w + 0.28, h * 0.62, 0.0), 0.13, 0.06)
    tip = rod(p.x, y, p.z, (w + 0.24, h * 0.5, 0.0), (w + 0.32, h * 0.76, 0.0), 0.072, 0.062)
    lid = drum(radial, y - h * 0.9, w * 0.52, 0.05, 0.03).minimum(
        ellipsoid(p.x, y - h * 0.88, p.z, w * 0.45, h * 0.26, w * 0.45)
    )
    knob = ball(p.x, y - h * 1.22, p.z, 0.075)
    handle = ring(length(p.x + w + 0.02, (y - h * 0.05) * 0.9), p.z, loop, 0.052)
    foot = drum(radial, p.y - 0.035, w * 0.62, 0.045, 0.02)
    return [
        Piece(0, melt(pot, spout, 0.08)),
        Piece(1, lid),
        Piece(2, handle),
        Piece(3, tip),
        Piece(4, knob),
        Piece(5, foot),
    ]


def _spot(s: Mapping[str, float]) -> Spot:
    return Spot(-0.02, s["tall"] + 0.03, s["tall"] * 0.52)


TOY = Toy(
    parts=PARTS,
    sizes={"wide": (0.38, 0.48), "tall": (0.3, 0.42), "loop": (0.19, 0.26)},
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=0,
    turn=0.8,
    closer=0.92,
    gloss=0.55,
)
