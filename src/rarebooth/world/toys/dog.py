"""A standing toy dog with hanging ears, a collar and a raised tail."""

from collections.abc import Mapping

from torch import Tensor

from rarebooth.world.figure import Bone, Figure
from rarebooth.world.solids import Number, ball, ellipsoid, length, melt, ring, rod
from rarebooth.world.tensors import Sizes, Vec
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("coat", "main", patterned=True),
    Part("ears", "second"),
    Part("paws", "second"),
    Part("muzzle", "white"),
    Part("collar", "third"),
    Part("eyes and nose", "black"),
)


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    return 0.34, 0.82 + s["leg"], s["long"] + 0.3 + s["snout"] * 0.75


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    leg, long, ear, snout = s["leg"], s["long"], s["ear"], s["snout"]
    side = p.x.abs()
    belly = leg + 0.13
    trunk = rod(p.x, p.y - belly, p.z, (0.0, 0.0, 0.13 - long), (0.0, 0.02, long - 0.15), 0.2)
    hz, hy = long - 0.02, belly + 0.42
    head = ellipsoid(p.x, p.y - hy, p.z - hz, 0.24, 0.235, 0.225)
    neck = rod(p.x, p.y - belly, p.z, (0.0, 0.1, long - 0.14), (0.0, 0.3, hz), 0.13)
    lz = (p.z + 0.01).abs() - (long - 0.14)
    legs = rod(side - 0.13, p.y, lz, (0.0, 0.1, 0.0), (0.0, leg + 0.1, 0.0), 0.085)
    paws = ellipsoid(side - 0.135, p.y - 0.06, lz - 0.0, 0.1, 0.075, 0.12)
    tail = rod(
        p.x, p.y - belly, p.z, (0.0, 0.1, -long + 0.02), (0.0, 0.36, -long - 0.14), 0.06, 0.035
    )
    coat = melt(melt(trunk, legs, 0.08), melt(head, neck, 0.08), 0.06).minimum(tail)
    muzzle = ellipsoid(p.x, p.y - hy + 0.07, p.z - hz - 0.16, 0.125, 0.1, 0.1 + snout)
    nose = ellipsoid(p.x, p.y - hy + 0.02, p.z - hz - 0.25 - snout, 0.055, 0.045, 0.04)
    eyes = ball(side - 0.105, p.y - hy - 0.05, p.z - hz - 0.185, 0.042)
    ears = ellipsoid(side - 0.255, p.y - hy + ear * 0.5 - 0.08, p.z - hz + 0.03, 0.065, ear, 0.13)
    tilt = p.y - belly - 0.22 - (p.z - hz + 0.06) * -0.35
    collar = ring(length(p.x, p.z - hz + 0.045), tilt, 0.135, 0.045)
    return [
        Piece(0, coat),
        Piece(1, ears),
        Piece(2, paws),
        Piece(3, muzzle),
        Piece(4, collar),
        Piece(5, nose.minimum(eyes)),
    ]


def _spot(s: Mapping[str, float]) -> Spot:
    return Spot(-0.05, s["leg"] + 0.15, 0.17)


def _paint(p: Vec, part: Tensor, colour: Tensor, s: Sizes) -> Tensor:
    tip = (part == 0) & (p.z < -s["long"] - 0.07)
    return colour * (1.0 - 0.55 * tip.to(colour.dtype))


def _figure(s: Mapping[str, Number]) -> Figure:
    leg, long = s["leg"], s["long"]
    belly = leg + 0.13
    hz, hy = long - 0.02, belly + 0.42
    front = long - 0.15
    return Figure(
        head=(0.0, hy, hz),
        radii=(0.24, 0.235, 0.225),
        eye=(0.105, hy + 0.05, hz + 0.185),
        crown=0.17,
        crown_radius=0.19,
        neck=(0.0, belly + 0.215, hz - 0.045),
        neck_radius=0.135,
        lean=0.35,
        trunk=Bone((0.0, belly, 0.13 - long), (0.0, belly + 0.02, front), 0.2, 0.2),
        arm=Bone((0.13, 0.1, front), (0.13, leg + 0.1, front), 0.085, 0.085),
        buttons=((0.24, belly + 0.04, 0.13 - long), (0.2, belly + 0.1, front + 0.08)),
    )


TOY = Toy(
    parts=PARTS,
    sizes={"leg": (0.12, 0.24), "long": (0.3, 0.42), "ear": (0.17, 0.26), "snout": (0.03, 0.1)},
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=0,
    emblem_axis="x",
    paint=_paint,
    facing=0.6,
    turn=0.75,
    closer=1.02,
    gloss=0.12,
    figure=_figure,
)
