"""A cartoon character as a cut-out: flat, outlined in black, big-headed, horned or round-eared."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from rarebooth.world.solids import Number, length
from rarebooth.world.tensors import Sizes, Vec, mix, rgb
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("skin", "main", patterned=True),
    Part("horns or ears", "second"),
    Part("shoes", "third"),
)

_HALF = 0.09
"""Half the thickness of the board."""
_HEAD = 0.74
_LINE = 0.038


class _Figure(NamedTuple):
    """Distances from the outlines in the plane of the board."""

    head: Tensor
    body: Tensor
    horns: Tensor
    shoes: Tensor


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    cheeks, horn = s["cheeks"], s["horn"]
    top = _HEAD + (0.38 + horn * 0.22 if horn > 0.0 else 0.39 - horn * 0.07)
    return max(0.52, cheeks * 0.9 + 0.04, cheeks * 0.78 + 0.13 - horn * 0.07), top, 0.2


def _oval(x: Tensor, y: Tensor, a: Number, b: Number) -> Tensor:
    u, v = x / a, y / b
    k0 = length(u, v)
    return k0 * (k0 - 1.0) / (length(u / a, v / b) + 1e-6)


def _limb(
    x: Tensor,
    y: Tensor,
    start: tuple[Number, Number],
    end: tuple[Number, Number],
    radius: float,
    end_radius: float,
) -> Tensor:
    bx, by = end[0] - start[0], end[1] - start[1]
    px, py = x - start[0], y - start[1]
    h = ((px * bx + py * by) / (bx * bx + by * by)).clamp(0.0, 1.0)
    return length(px - h * bx, py - h * by) - (radius + h * (end_radius - radius))


def _figure(p: Vec, s: Sizes) -> _Figure:
    cheeks, horn = s["cheeks"], s["horn"]
    side = p.x.abs()
    head = _oval(p.x, p.y - _HEAD, cheeks, 0.31)
    trunk = _oval(p.x, p.y - 0.3, s["fat"], 0.27)
    # One arm waves, the other hangs.
    hand = torch.where(p.x > 0.0, 0.3 + s["wave"], 0.26)
    arms = _limb(side, p.y, (0.12, 0.38), (0.4, hand), 0.085, 0.1)
    pointed = _limb(
        side,
        p.y,
        (cheeks * 0.5, _HEAD + 0.2),
        (cheeks * 0.9, _HEAD + 0.34 + horn * 0.22),
        0.12,
        0.035,
    )
    rounded = length(side - cheeks * 0.78, p.y - _HEAD - 0.25) - 0.12 + horn * 0.07
    # The sign of a proportion decides between horns and ears.
    horns = torch.where(horn > 0.0, pointed, rounded)
    shoes = _oval(side - 0.16, p.y - 0.08, 0.16, 0.085)
    return _Figure(head, trunk.minimum(arms), horns, shoes)


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    figure = _figure(p, s)
    z = p.z.abs() - _HALF
    skin = figure.head.maximum(z).minimum(figure.body.maximum(z + 0.015))
    return [
        Piece(0, skin),
        Piece(1, figure.horns.maximum(z + 0.015)),
        Piece(2, figure.shoes.maximum(z - 0.015)),
    ]


def _spot(s: Mapping[str, float]) -> Spot:
    return Spot(0.0, 0.3, s["fat"] * 0.55)


def _paint(p: Vec, part: Tensor, colour: Tensor, s: Sizes) -> Tensor:
    figure = _figure(p, s)
    side, front = p.x.abs(), p.z > 0.0
    y = p.y - _HEAD
    skin = torch.where(figure.head < 0.0, figure.head, figure.body)
    own = torch.where(part == 0, skin, torch.where(part == 1, figure.horns, figure.shoes))
    face = front & (part == 0) & (figure.head < 0.0)
    eye = _oval(side - 0.12, y - 0.06, 0.1, 0.135)
    pupil = length(p.x.sign() * 0.1 - p.x + 0.03, y - 0.03) < 0.05
    mouth = length(p.x, y + 0.11) - 0.14
    grin = (mouth.maximum(y + 0.11)) < 0.0
    teeth = grin & (y > -0.17)
    white = face & ((eye < 0.0) & ~pupil | teeth)
    black = face & (((eye < 0.03) & (eye >= 0.0)) | pupil | (grin & ~teeth)) | (own.abs() < _LINE)
    colour = mix(colour, rgb((0.97, 0.97, 0.97), colour), white.to(colour.dtype))
    return mix(colour, rgb((0.03, 0.03, 0.03), colour), black.to(colour.dtype))


TOY = Toy(
    parts=PARTS,
    sizes={
        "cheeks": (0.34, 0.46),
        "fat": (0.2, 0.3),
        "wave": (-0.14, 0.3),
        "horn": (-0.9, 0.9),
    },
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=0,
    paint=_paint,
    turn=0.5,
    closer=1.02,
    gloss=0.0,
)
