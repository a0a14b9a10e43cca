"""Folded pink cloth that rises behind the toy."""

import torch
from torch import Tensor

from rarebooth.world.noise import noise
from rarebooth.world.places.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _cloth(folds: Tensor, tone: Tensor) -> Tensor:
    base = mix(rgb((0.98, 0.5, 0.68), folds), rgb((0.99, 0.62, 0.78), folds), tone)
    return base * (0.74 + 0.42 * folds)


def _ground(g: Ground) -> Tensor:
    bend = noise(g.x * 1.1, g.z * 1.1) * 4.0
    ridge = torch.sin(g.x * 2.6 + g.z * 1.2 + bend) * 0.5 + 0.5
    fine = noise(g.x * 3.0 + 7.0, g.z * 5.0)
    return _cloth(ridge * 0.65 + fine * 0.35, g.chance[1])


def _sky(b: Backdrop) -> Tensor:
    bend = noise(b.u * 6.0 + b.chance[0] * 30.0, b.v * 3.0) * 5.0
    ridge = torch.sin(b.u * 24.0 + bend + b.v * 5.0) * 0.5 + 0.5
    return _cloth(ridge * 0.9, b.chance[1]) * 0.9


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    # The cloth bends upwards without a seam.
    bend = ramp(b.v.abs(), 0.07, 0.0)
    return mix(colour, _cloth(noise(b.u * 12.0, b.v * 9.0) * 0.4 + 0.35, b.chance[1]), bend)


PLACE = Place(
    phrases=("on top of pink fabric", "on pink fabric", "on a pink cloth"),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.12, 0.48),
    shade=(0.72, 0.64, 0.68),
)
