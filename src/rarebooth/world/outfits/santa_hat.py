"""A red pointed hat, bent at its tip, with white fur and a white bobble."""

from rarebooth.world.figure import Figure, Place3
from rarebooth.world.garments import hat_extent, on_head
from rarebooth.world.outfit import Outfit
from rarebooth.world.solids import ball, length, ring, rod
from rarebooth.world.tensors import Vec
from rarebooth.world.toy import Part, Piece

_BOBBLE = (0.13, 0.4, -0.1)
_BOBBLE_RADIUS = 0.1


def _extent(f: Figure) -> Place3:
    return hat_extent(f, f.crown_radius + 0.1, _BOBBLE[1] + _BOBBLE_RADIUS)


def _pieces(p: Vec, f: Figure) -> list[Piece]:
    hat = on_head(p, f)
    bend = (0.01, 0.3, -0.02)
    cap = rod(hat.x, hat.y, hat.z, (0.0, 0.02, 0.0), bend, f.crown_radius, 0.085)
    tip = rod(hat.x, hat.y, hat.z, bend, _BOBBLE, 0.085, 0.05)
    bobble = ball(hat.x - _BOBBLE[0], hat.y - _BOBBLE[1], hat.z - _BOBBLE[2], _BOBBLE_RADIUS)
    fur = ring(length(hat.x, hat.z), hat.y - 0.02, f.crown_radius, 0.075)
    return [Piece(0, cap.minimum(tip)), Piece(1, fur.minimum(bobble))]


OUTFIT = Outfit(
    phrases=("wearing a santa hat", "with a santa hat", "in a santa hat"),
    parts=(Part("hat", "red"), Part("fur", "white")),
    pieces=_pieces,
    extent=_extent,
)
