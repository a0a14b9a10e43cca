"""What a place has to say about itself to be drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from torch import Tensor

Chance: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]

FRONT_FROM = -0.16
"""Upright things begin above this height on the backdrop."""


class Ground(NamedTuple):
    """Points of the ground plane, [M] each; toys are about one unit tall.

    ``x``, ``z``: position, randomly turned and shifted per shot. ``far``: distance from the
    camera. ``near_x``, ``near_z``: position seen from the toy, towards the camera's right and
    away from the camera. ``half``: half of what the picture's width shows at the toy's distance.
    ``gap``: distance to a toy that has sunk in; large around one that stands. ``chance``: four
    numbers per shot, 0..1.
    """

    x: Tensor
    z: Tensor
    far: Tensor
    near_x: Tensor
    near_z: Tensor
    half: Tensor
    gap: Tensor
    chance: Chance


class Backdrop(NamedTuple):
    """Directions towards an upright screen far behind the toy, [M] each.

    ``u`` runs to the right (about -0.4..0.4 in view), ``v`` upwards from the horizon (about
    -0.5..0.4 in view). ``chance``: four numbers per shot, 0..1, the same as the ground's.
    """

    u: Tensor
    v: Tensor
    chance: Chance


@dataclass(frozen=True)
class Place:
    """Where a toy is photographed.

    ``phrases``: what follows the class noun, DreamBench's own words first. ``ground`` and ``sky``
    give linear light [3, M] in full sun; ``front`` paints upright things over both.
    ``elevation``: range of the camera's height, radians. ``lift``: range of how far the toy sits
    below the middle of the picture, in half heights. ``room``: how many times farther than usual
    the camera stands. ``sun`` and ``shade``: strength of the direct light, and colour of the light
    from the sky. ``sink``: share of the toy's height below the ground, which then is a liquid.
    ``mirror``: how much [M] of the ground's own light gives way to what it reflects, 0..1.
    """

    phrases: tuple[str, ...]
    ground: Callable[[Ground], Tensor]
    sky: Callable[[Backdrop], Tensor]
    front: Callable[[Backdrop, Tensor], Tensor] | None = None
    elevation: tuple[float, float] = (0.08, 0.42)
    lift: tuple[float, float] = (0.05, 0.2)
    room: float = 1.0
    sun: float = 0.85
    shade: tuple[float, float, float] = (0.62, 0.66, 0.72)
    sink: float = 0.0
    mirror: Callable[[Ground], Tensor] | None = None
