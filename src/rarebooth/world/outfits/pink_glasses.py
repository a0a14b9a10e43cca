"""Large pink glasses with dark lenses."""

import torch

from rarebooth.world.figure import Figure
from rarebooth.world.outfit import Outfit
from rarebooth.world.solids import drum, length, ring, rod
from rarebooth.world.tensors import Vec
from rarebooth.world.toy import Part, Piece

_RADIUS = 0.09
_THICK = 0.037


def _pieces(p: Vec, f: Figure) -> list[Piece]:
    side = p.x.abs()
    x, y, z = f.eye[0] + 0.015, f.eye[1] + 0.01, f.eye[2] + 0.05
    away = length(side - x, p.y - y)
    ahead = p.z - z
    rims = ring(away, ahead, _RADIUS, _THICK)
    outer, ear = f.radii[0] + 0.01, f.head[2] - 0.05
    hinge, temple = (x + _RADIUS, y, z), (outer, y + 0.02, ear)
    arms = rod(side, p.y, p.z, hinge, temple, _THICK)
    bridge = torch.maximum(length(p.y - y, ahead) - _THICK, side - x + _RADIUS)
    lenses = drum(away, ahead, _RADIUS, 0.015, 0.01)
    return [Piece(0, rims.minimum(arms).minimum(bridge)), Piece(1, lenses)]


OUTFIT = Outfit(
    phrases=("wearing pink glasses", "with pink glasses", "in pink glasses"),
    parts=(Part("frame", "pink"), Part("lenses", "black")),
    pieces=_pieces,
)
