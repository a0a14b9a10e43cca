"""A sitting toy cat with pointed ears, whiskers' cheeks and a curled tail."""

from collections.abc import Mapping

from torch import Tensor

from rarebooth.world.figure import Bone, Figure
from rarebooth.world.solids import Number, ball, ellipsoid, length, melt, ring, rod
from rarebooth.world.tensors import Sizes, Vec, mix, rgb
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("fur", "main", patterned=True),
    Part("ears", "second"),
    Part("tail", "second"),
    Part("muzzle", "white"),
    Part("collar", "third"),
    Part("eyes", "yellow"),
    Part("nose", "pink"),
)


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    return 0.46, s["tall"] + 0.62 + s["ear"] * 0.5, 0.46


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    tall, wide, ear = s["tall"], s["wide"], s["ear"]
    side = p.x.abs()
    trunk = rod(p.x, p.y, p.z, (0.0, 0.27, -0.1), (0.0, tall, 0.06), wide, 0.16)
    haunch = ellipsoid(side - 0.19, p.y - 0.17, p.z + 0.02, 0.13, 0.17, 0.22)
    arms = rod(side, p.y, p.z, (0.09, 0.06, 0.26), (0.1, tall - 0.1, 0.12), 0.07)
    hy = tall + 0.24
    head = ellipsoid(p.x, p.y - hy, p.z - 0.1, 0.26, 0.215, 0.21)
    fur = melt(melt(trunk, haunch, 0.06), melt(head, arms, 0.04), 0.05)
    ears = rod(
        side, p.y - hy, p.z - 0.1, (0.14, 0.13, 0.0), (0.19, 0.24 + ear * 0.5, -0.02), 0.1, 0.012
    )
    round_ = length(p.x - 0.02, p.z + 0.02)
    curl = ring(round_, p.y - 0.06, 0.36, 0.058)
    tail = curl.maximum(-p.x - 0.1).minimum(ball(p.x + 0.08, p.y - 0.07, p.z - 0.33, 0.075))
    muzzle = ellipsoid(side - 0.045, p.y - hy + 0.07, p.z - 0.29, 0.07, 0.055, 0.05)
    nose = ball(p.x, p.y - hy + 0.02, p.z - 0.33, 0.028)
    eyes = ellipsoid(side - 0.1, p.y - hy - 0.05, p.z - 0.275, 0.05, 0.055, 0.03)
    collar = ring(length(p.x, p.z - 0.07), p.y - tall - 0.03, 0.145, 0.042)
    bell = ball(p.x, p.y - tall + 0.03, p.z - 0.25, 0.04)
    return [
        Piece(0, fur),
        Piece(1, ears),
        Piece(2, tail),
        Piece(3, muzzle),
        Piece(4, collar),
        Piece(5, eyes.minimum(bell)),
        Piece(6, nose),
    ]


def _spot(s: Mapping[str, float]) -> Spot:
    return Spot(0.0, s["tall"] * 0.55, 0.14)


def _paint(p: Vec, part: Tensor, colour: Tensor, s: Sizes) -> Tensor:
    slit = (part == 5) & ((p.x.abs() - 0.1).abs() < 0.02) & (p.y > s["tall"] + 0.15)
    return mix(colour, rgb((0.05, 0.05, 0.05), colour), slit.to(colour.dtype))


def _figure(s: Mapping[str, Number]) -> Figure:
    tall, wide = s["tall"], s["wide"]
    hy = tall + 0.24
    return Figure(
        head=(0.0, hy, 0.1),
        radii=(0.26, 0.215, 0.21),
        eye=(0.1, hy + 0.05, 0.275),
        crown=0.15,
        crown_radius=0.17,
        neck=(0.0, tall + 0.03, 0.07),
        neck_radius=0.145,
        lean=0.0,
        trunk=Bone((0.0, 0.27, -0.1), (0.0, tall, 0.06), wide, 0.16),
        arm=Bone((0.09, 0.06, 0.26), (0.1, tall - 0.1, 0.12), 0.07, 0.07),
        buttons=((0.09, 0.24, 0.3), (0.1, tall - 0.06, 0.23)),
    )


TOY = Toy(
    parts=PARTS,
    sizes={"tall": (0.48, 0.62), "wide": (0.2, 0.27), "ear": (0.1, 0.24)},
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=0,
    paint=_paint,
    facing=0.2,
    turn=0.8,
    closer=1.12,
    gloss=0.12,
    figure=_figure,
)
