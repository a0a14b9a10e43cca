"""A tall purple pointed hat and a long purple robe, both with yellow stars."""

import math

import torch
from torch import Tensor

from rarebooth.world.colours import PALETTE
from rarebooth.world.decals import emblem_mask
from rarebooth.world.figure import Figure, Place3
from rarebooth.world.garments import bone, brim, hat_extent, jacket, on_head
from rarebooth.world.outfit import Outfit
from rarebooth.world.solids import length, rod
from rarebooth.world.tensors import Vec, mix, rgb
from rarebooth.world.toy import Part, Piece
from rarebooth.world.traits import EMBLEMS

_BRIM = 0.15
_TALL = 0.6
_FLARE = 0.2
_HEM = 0.13
"""Where the robe ends above the ground; the paws look out below."""


def _extent(f: Figure) -> Place3:
    return hat_extent(f, f.crown_radius + _BRIM, _TALL + 0.02)


def _pieces(p: Vec, f: Figure) -> list[Piece]:
    hat = on_head(p, f)
    cone = rod(
        hat.x, hat.y, hat.z, (0.0, 0.0, 0.0), (0.0, _TALL - 0.02, -0.08), f.crown_radius, 0.02
    )
    # The trunk's shell, drawn down almost to the ground and wider there.
    lowest = f.trunk.start[1]
    below = (lowest - p.y).clamp_min(0.0)
    robe = bone(Vec(p.x, p.y + below, p.z), f.trunk, 0.05) - _FLARE * below
    return [
        Piece(0, cone.minimum(brim(hat, f.crown_radius + _BRIM))),
        Piece(1, robe.maximum(_HEM - p.y).minimum(jacket(p, f, 0.05, -1.0, 0.3))),
    ]


def _stars(x: Tensor, y: Tensor, z: Tensor, number: int, radius: float) -> Tensor:
    """Where stars around the y axis are: bool [M]."""
    step = 2.0 * math.pi / number
    turn = torch.atan2(x, z) / step
    across = (turn - turn.round()) * step * length(x, z)
    return emblem_mask(across / radius, y / radius, torch.full_like(x, EMBLEMS.index("star")))


def _paint(p: Vec, part: Tensor, colour: Tensor, f: Figure) -> Tensor:
    hat = on_head(p, f)
    on_hat = _stars(hat.x, hat.y - 0.14, hat.z, 5, 0.085) | _stars(
        hat.x, hat.y - 0.32, hat.z + 0.05, 3, 0.065
    )
    middle = (f.trunk.start[1] + f.trunk.end[1]) * 0.5
    on_robe = _stars(p.x, p.y - middle, p.z, 6, 0.1)
    ink = ((part == 0) & on_hat) | ((part == 1) & on_robe)
    return mix(colour, rgb(PALETTE["yellow"], colour), ink.to(colour.dtype))


OUTFIT = Outfit(
    phrases=(
        "in a purple wizard outfit",
        "wearing a purple wizard outfit",
        "in a purple wizard costume",
    ),
    parts=(Part("hat", "purple"), Part("robe", "purple")),
    pieces=_pieces,
    extent=_extent,
    paint=_paint,
)
