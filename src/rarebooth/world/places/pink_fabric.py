"""Folded pink cloth that rises behind the toy."""

import torch
from torch import Tensor

from rarebooth.world.noise import noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _cloth(folds: Tensor, tone: Tensor) -> Tensor:
    base = mix(rgb((0.98, 0.5, 0.68), folds), rgb((0.99, 0.62, 0.78), folds), tone)
    return base * (0.62 + 0.55 * folds)


def _ground(g: Ground) -> Tensor:
    bend = noise(g.x * 0.8, g.z * 0.8) * 4.0
    ridge = torch.sin(g.x * 2.2 + g.z + bend) * 0.5 + 0.5
    flat = ramp(g.far, 4.0, 14.0)
    return _cloth(0.1 + 0.8 * (ridge + (0.5 - ridge) * flat), g.chance[1])


def _sky(b: Backdrop) -> Tensor:
    bend = noise(b.u * 4.0 + b.chance[0] * 30.0, b.v * 2.0) * 4.0
    ridge = torch.sin(b.u * 16.0 + bend + b.v * 5.0) * 0.5 + 0.5
    return _cloth(ridge * 0.9, b.chance[1]) * 0.9


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    # The cloth bends upwards without a seam.
    bend = ramp(b.v.abs(), 0.07, 0.0)
    return mix(colour, _cloth(noise(b.u * 8.0, b.v * 6.0) * 0.3 + 0.4, b.chance[1]), bend)


PLACE = Place(
    phrases=("on top of pink fabric", "on pink fabric", "on a pink cloth"),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.12, 0.48),
    shade=(0.72, 0.64, 0.68),
)
