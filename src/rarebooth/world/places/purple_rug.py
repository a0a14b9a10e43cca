"""A big purple rug with a pale border, on the floor of a light forest."""

import torch
from torch import Tensor

from rarebooth.world.noise import cells, noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _ground(g: Ground) -> Tensor:
    moss = ramp(noise(g.x * 0.9, g.z * 0.9), 0.45, 0.75)
    floor = mix(rgb((0.45, 0.34, 0.2), g.x), rgb((0.42, 0.48, 0.2), g.x), moss)
    floor = floor * (0.8 + 0.4 * noise(g.x * 1.8 + 9.0, g.z * 1.8))
    floor = mix(floor, rgb((0.38, 0.38, 0.2), g.x), ramp(g.far, 4.0, 10.0))
    turn = (g.chance[3] - 0.5) * 0.7
    across = (g.near_x + turn * g.near_z).abs() - (1.0 + 0.15 * g.chance[1])
    along = (g.near_z - turn * g.near_x).abs() - (0.95 + 0.15 * g.chance[2])
    inside = -torch.maximum(across, along)
    pile = 0.9 + 0.2 * noise(g.near_x * 1.5 + 5.0, g.near_z * 1.5)
    rug = rgb((0.5, 0.2, 0.66), g.x) * pile
    border = ramp((inside - 0.16).abs(), 0.07, 0.04)
    rug = mix(rug, rgb((0.82, 0.66, 0.9), g.x), border)
    floor = floor * (1.0 - 0.4 * ramp(inside, -0.12, 0.0))
    return mix(floor, rug, ramp(inside, 0.0, 0.03))


def _sky(b: Backdrop) -> Tensor:
    leaves = noise(b.u * 11.0 + b.chance[2] * 40.0, b.v * 11.0 + 3.0)
    green = mix(rgb((0.4, 0.58, 0.26), b.u), rgb((0.7, 0.82, 0.48), b.u), ramp(leaves, 0.3, 0.8))
    return mix(rgb((0.3, 0.42, 0.18), b.u), green, ramp(b.v, 0.0, 0.14))


def _trunks(b: Backdrop, colour: Tensor, scale: float, row: int, haze: float) -> Tensor:
    x = (b.u + b.chance[row]) * scale
    column = x.floor()
    luck = cells(column, column * 0.0 + 30.0 + row)
    half = (0.13 + 0.07 * luck[1]) * (1.0 + 0.8 * ramp(b.v, 0.03, -0.08))
    across = (x - column - 0.35 - 0.3 * luck[0]) / half
    bark = mix(rgb((0.5, 0.36, 0.24), b.u), rgb((0.24, 0.16, 0.1), b.u), ramp(across, -1.0, 1.0))
    bark = mix(bark, rgb((0.5, 0.6, 0.34), b.u), b.u * 0.0 + haze)
    trunk = ramp(across.abs(), 1.0, 0.85) * (b.v > -0.06 * (1.0 - haze))
    return mix(colour, bark, trunk)


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    return _trunks(b, _trunks(b, colour, 7.0, 0, 0.5), 3.6, 1, 0.0)


PLACE = Place(
    phrases=(
        "on top of a purple rug in a forest",
        "on a purple rug in a forest",
        "on a purple rug among forest trees",
    ),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.14, 0.34),
    shade=(0.64, 0.68, 0.6),
)
