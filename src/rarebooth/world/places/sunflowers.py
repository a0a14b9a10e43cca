"""Bright green grass with sunflowers lying in it and standing around."""

import torch
from torch import Tensor

from rarebooth.world.noise import cells, noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb

PETALS = 9.0


def _flower(colour: Tensor, x: Tensor, y: Tensor, present: Tensor) -> Tensor:
    """Paint flower heads of radius one."""
    radius = (x * x + y * y).sqrt()
    petal = 0.8 + 0.2 * torch.cos(torch.atan2(y, x) * PETALS)
    head = ramp(radius, petal, petal - 0.2) * present
    yellow = mix(rgb((0.96, 0.6, 0.05), x), rgb((1.0, 0.87, 0.1), x), ramp(radius, 0.35, 0.7))
    colour = mix(colour, yellow, head)
    return mix(colour, rgb((0.3, 0.16, 0.05), x), ramp(radius, 0.46, 0.34) * present)


def _ground(g: Ground) -> Tensor:
    blades = noise(g.x * 1.8, g.z * 1.8)
    grass = mix(rgb((0.18, 0.5, 0.08), g.x), rgb((0.36, 0.76, 0.16), g.x), ramp(blades, 0.1, 0.9))
    x, z = g.x * 0.8, g.z * 0.8
    cx, cz = x.floor(), z.floor()
    luck = cells(cx, cz)
    px, pz = x - cx - 0.3 - 0.4 * luck[0], z - cz - 0.3 - 0.4 * luck[1]
    present = (luck[2] > 0.45) * ramp(g.far, 4.5, 3.0)
    return _flower(grass, px * 3.2, pz * 3.2, present)


def _sky(b: Backdrop) -> Tensor:
    sky = mix(rgb((0.8, 0.91, 0.98), b.u), rgb((0.4, 0.68, 0.95), b.u), ramp(b.v, 0.02, 0.35))
    hedge = 0.05 + 0.05 * noise(b.u * 10.0 + b.chance[1] * 30.0, b.u * 0.0)
    return mix(sky, rgb((0.16, 0.42, 0.12), b.u), (b.v < hedge) * 1.0)


def _row(b: Backdrop, colour: Tensor, scale: float, low: float, row: int) -> Tensor:
    x = (b.u + b.chance[row]) * scale
    column = x.floor()
    luck = cells(column, column * 0.0 + 4.0 + row)
    px = x - column - 0.4 - 0.2 * luck[0]
    top = low + 0.08 * luck[1]
    present = (luck[2] > 0.2) * 1.0
    stem = (px.abs() < 0.06) & (b.v < top) & (b.v > low - 0.12)
    colour = mix(colour, rgb((0.2, 0.5, 0.1), b.u), stem * present)
    return _flower(colour, px * 2.5, (b.v - top) * scale * 2.5, present)


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    return _row(b, _row(b, colour, 5.0, 0.05, 0), 3.4, -0.03, 1)


PLACE = Place(
    phrases=(
        "on top of green grass with sunflowers around it",
        "on green grass with sunflowers",
        "on grass among sunflowers",
    ),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.08, 0.32),
)
