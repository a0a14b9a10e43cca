"""A toy robot: a box for a head, lamps for eyes, an antenna, claws, and legs or treads."""

from collections.abc import Mapping

import torch

from rarebooth.world.solids import ball, box, drum, length, ring, rod
from rarebooth.world.tensors import Sizes, Vec
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("body", "main", patterned=True),
    Part("head", "main"),
    Part("arms and legs", "second"),
    Part("claws and antenna", "third"),
    Part("face", "black"),
    Part("eyes", "yellow"),
)

_HIP = 0.3
_CHEST = 0.23
"""Half the body's height."""
_NECK = _HIP + 2.0 * _CHEST


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    return s["wide"] + 0.32, _NECK + 0.36 + s["antenna"] + 0.06, 0.3


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    wide, head, antenna = s["wide"], s["head"], s["antenna"]
    side = p.x.abs()
    body = box(p.x, p.y - _HIP - _CHEST, p.z, wide, _CHEST, 0.19, 0.035)
    hy = p.y - _NECK - 0.2
    skull = box(p.x, hy, p.z, head, 0.16, 0.17, 0.03)
    skull = skull.minimum(drum(length(p.x, p.z), p.y - _NECK, 0.09, 0.06, 0.01))
    tracks = length((p.z.abs() - 0.14).clamp_min(0.0), p.y - 0.15) - 0.15
    tracks = tracks.maximum((side - wide * 0.7).abs() - 0.13)
    legs = box(side - wide * 0.52, p.y - 0.2, p.z, 0.08, 0.14, 0.09, 0.02)
    feet = box(side - wide * 0.58, p.y - 0.065, p.z - 0.05, 0.14, 0.065, 0.21, 0.03)
    # The sign of a proportion decides between tracks and legs.
    below = torch.where(s["tracks"] > 0.0, tracks, legs.minimum(feet))
    shoulder = _NECK - 0.1
    elbow, hand = (wide + 0.15, 0.53, 0.03), (wide + 0.17, 0.4, 0.08)
    arms = rod(side, p.y, p.z, (wide, shoulder, 0.0), elbow, 0.065).minimum(
        rod(side, p.y, p.z, elbow, hand, 0.065)
    )
    # A ring with a gap below is a claw.
    cx, cy = side - wide - 0.18, p.y - 0.3
    claws = ring(length(cx, cy), p.z - 0.08, 0.085, 0.045).maximum(-cy - 0.06)
    stem = rod(p.x, hy, p.z, (0.0, 0.14, 0.0), (0.0, 0.16 + antenna, 0.0), 0.03)
    knob = ball(p.x, hy - 0.16 - antenna, p.z, 0.065)
    bolts = drum(length(hy, p.z), side - head, 0.075, 0.05, 0.02)
    face = box(p.x, hy, p.z - 0.17, head - 0.05, 0.115, 0.02, 0.01)
    eyes = drum(length(side - head * 0.42, hy - 0.02), p.z - 0.18, 0.065, 0.035, 0.01)
    return [
        Piece(0, body),
        Piece(1, skull),
        Piece(2, arms.minimum(below)),
        Piece(3, claws.minimum(stem).minimum(knob).minimum(bolts)),
        Piece(4, face),
        Piece(5, eyes),
    ]


def _spot(s: Mapping[str, float]) -> Spot:
    return Spot(0.0, _HIP + _CHEST, s["wide"] * 0.58)


TOY = Toy(
    parts=PARTS,
    sizes={
        "wide": (0.23, 0.33),
        "head": (0.19, 0.3),
        "antenna": (0.08, 0.24),
        "tracks": (-1.0, 1.0),
    },
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=0,
    turn=0.7,
    gloss=0.5,
)
