"""A thick scarf in the colours of the rainbow, one end hanging down in front."""

import math

import torch
from torch import Tensor

from rarebooth.world.colours import PALETTE
from rarebooth.world.figure import Figure
from rarebooth.world.outfit import Outfit
from rarebooth.world.solids import box, length, ring
from rarebooth.world.tensors import Vec, rgb
from rarebooth.world.toy import Part, Piece

_BANDS = ("red", "orange", "yellow", "green", "blue", "purple")
_THICK = 0.1
_LONG = 0.28
"""How far the end hangs down."""

_BAND = 0.08
"""How much of the end one colour takes."""

_SIN, _COS = math.sin(0.4), math.cos(0.4)
"""Where the end hangs: a little beside the front."""


def _pieces(p: Vec, f: Figure) -> list[Piece]:
    ahead = p.z - f.neck[2]
    around, height = f.neck_radius + 0.06, _height(p, f)
    loop = ring(length(p.x, ahead), height, around, _THICK)
    # It is flat and stands off a little downwards.
    outward = p.x * _SIN + ahead * _COS - around - 0.03 + 0.2 * height
    across = p.x * _COS - ahead * _SIN
    end = box(across, height + _LONG * 0.5, outward, 0.12, _LONG * 0.5 + 0.05, 0.05, 0.04)
    return [Piece(0, loop.minimum(end))]


def _height(p: Vec, f: Figure) -> Tensor:
    """Height above the loop, which leans with the neck."""
    return p.y - f.neck[1] + (p.z - f.neck[2]) * f.lean + 0.02


def _paint(p: Vec, part: Tensor, colour: Tensor, f: Figure) -> Tensor:
    below = -_height(p, f) - _THICK
    turn = torch.atan2(p.x.abs(), p.z - f.neck[2]) * (len(_BANDS) / math.pi)
    band = torch.where(below > 0.0, -1.0 - below / _BAND, turn).floor()
    for number, name in enumerate(_BANDS):
        mine = (part == 0) & (band.remainder(len(_BANDS)) == number)
        colour = torch.where(mine, rgb(PALETTE[name], colour), colour)
    return colour


OUTFIT = Outfit(
    phrases=("wearing a rainbow scarf", "with a rainbow scarf", "in a rainbow scarf"),
    parts=(Part("scarf", "red"),),
    pieces=_pieces,
    paint=_paint,
)
