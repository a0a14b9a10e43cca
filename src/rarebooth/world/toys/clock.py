"""A twin-bell alarm clock with a dial, hands, legs and a hammer."""

from collections.abc import Mapping

from torch import Tensor

from rarebooth.world.solids import drum, ellipsoid, length, ring, rod
from rarebooth.world.tensors import Sizes, Vec, mix, rgb
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("case", "main", patterned=True),
    Part("face", "white"),
    Part("bells", "main"),
    Part("legs", "second"),
    Part("hammer", "third"),
)


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    return s["radius"] + 0.06, s["radius"] * 2 + 0.36, s["depth"] + 0.07


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    r, d = s["radius"], s["depth"]
    y = p.y - r - 0.14
    radial = length(p.x, y)
    side = p.x.abs()
    case = drum(radial, p.z, r, d, 0.05)
    case = case.minimum(ring(radial, p.z - d, r - 0.05, 0.06))
    face = drum(radial, p.z - d, r - 0.09, 0.012, 0.006)
    # The bells are half balls tipped outwards: the distance along the tip cuts the ball.
    bx, by = side - r * 0.6, y - r * 0.86
    bells = ellipsoid(bx, by, p.z, 0.165, 0.165, 0.15)
    bells = bells.maximum(0.02 - bx * 0.55 - by * 0.83)
    legs = rod(side, y, p.z, (r * 0.5, -r * 0.8, 0.0), (r * 0.78, -r - 0.09, 0.0), 0.055)
    stem = rod(p.x, y, p.z, (0.0, r, 0.0), (0.0, r + 0.12, 0.0), 0.025)
    head = drum(side, y - r - 0.13, 0.07, 0.035, 0.02).maximum(p.z.abs() - 0.05)
    return [
        Piece(0, case),
        Piece(1, face),
        Piece(2, bells),
        Piece(3, legs),
        Piece(4, stem.minimum(head)),
    ]


def _spot(s: Mapping[str, float]) -> Spot:
    return Spot(0.0, s["radius"] * 0.78 + 0.14, s["radius"] * 0.3)


def _hand(x: Tensor, y: Tensor, to_x: Tensor, to_y: Tensor, reach: float, half: float) -> Tensor:
    ahead = x * to_x + y * to_y
    return ((x * to_y - y * to_x).abs() < half) & (ahead > -0.03) & (ahead < reach)


def _paint(p: Vec, part: Tensor, colour: Tensor, s: Sizes) -> Tensor:
    r = s["radius"]
    x, y = p.x, p.y - r - 0.14
    radial = length(x, y)
    hour, minute = s["hour"], s["hour"] * 7.0
    hands = _hand(x, y, hour.sin(), hour.cos(), 0.15, 0.024) | _hand(
        x, y, minute.sin(), minute.cos(), 0.23, 0.018
    )
    # Twelve marks: fold the dial into the nearest of the six axes through the centre.
    band = (radial > r - 0.18) & (radial < r - 0.12)
    marks = (x.abs() < 0.016) | (y.abs() < 0.016)
    for across, up in ((0.5, 0.866), (0.866, 0.5)):
        marks = marks | ((x.abs() * up - y.abs() * across).abs() < 0.012)
    ink = (part == 1) & (p.z > 0.0) & (hands | (band & marks) | (radial < 0.035))
    return mix(colour, rgb((0.06, 0.06, 0.08), colour), ink.to(colour.dtype))


TOY = Toy(
    parts=PARTS,
    sizes={"radius": (0.38, 0.44), "depth": (0.12, 0.2), "hour": (0.0, 4.7)},
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=1,
    paint=_paint,
    turn=0.7,
    gloss=0.5,
)
