"""A skyline of towers with rows of windows behind a gray square."""

import torch
from torch import Tensor

from rarebooth.world.noise import cells
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _ground(g: Ground) -> Tensor:
    x, z = g.x * 0.8, g.z * 0.8
    luck = cells(x.floor(), z.floor())
    slab = mix(rgb((0.58, 0.59, 0.61), g.x), rgb((0.68, 0.69, 0.7), g.x), luck[0])
    edge = torch.maximum((x - x.floor() - 0.5).abs(), (z - z.floor() - 0.5).abs())
    joint = ramp(edge, 0.45, 0.49)
    near = mix(slab, rgb((0.42, 0.43, 0.45), g.x), joint * ramp(g.far, 6.0, 2.5))
    return mix(near, rgb((0.5, 0.51, 0.54), g.x), ramp(g.far, 6.0, 16.0))


def _sky(b: Backdrop) -> Tensor:
    return mix(rgb((0.86, 0.9, 0.95), b.u), rgb((0.4, 0.64, 0.92), b.u), ramp(b.v, 0.0, 0.4))


def _towers(b: Backdrop, colour: Tensor, scale: float, row: int, haze: float) -> Tensor:
    x = (b.u + b.chance[row]) * scale
    column = x.floor()
    luck = cells(column, column * 0.0 + 20.0 + row)
    tall = 0.13 + 0.27 * luck[0] + 0.05 * haze
    across = (x - column - 0.5).abs()
    tower = (across < 0.36 + 0.14 * luck[1]) & (b.v < tall) & (b.v > -0.02)
    wall = mix(rgb((0.3, 0.36, 0.48), b.u), rgb((0.62, 0.56, 0.52), b.u), luck[2])
    wx, wy = (x - column) * 3.0, b.v * 15.0
    pane = ((wx - wx.floor() - 0.5).abs() < 0.3) & ((wy - wy.floor() - 0.5).abs() < 0.3)
    pane = pane & (across < 0.36) & (b.v < tall - 0.02) & (b.v > 0.01)
    lit = cells(wx.floor() + column * 7.0, wy.floor())[1]
    glass = mix(rgb((0.13, 0.18, 0.28), b.u), rgb((1.0, 0.9, 0.55), b.u), (lit > 0.6) * 1.0)
    wall = mix(wall, glass, pane.to(colour.dtype))
    wall = mix(wall, rgb((0.7, 0.78, 0.88), b.u), b.u * 0.0 + haze)
    return mix(colour, wall, tower.to(colour.dtype))


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    return _towers(b, _towers(b, colour, 6.0, 0, 0.6), 4.2, 1, 0.0)


PLACE = Place(
    phrases=(
        "with a city in the background",
        "with city towers in the background",
        "in front of a city",
    ),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.05, 0.17),
    lift=(0.14, 0.3),
)
