"""A pale sidewalk with a kerb, people in bright coats, and the fronts of houses."""

import torch
from torch import Tensor

from rarebooth.world.noise import cells
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb

COATS = (
    (0.85, 0.16, 0.14),
    (0.15, 0.38, 0.82),
    (0.96, 0.78, 0.15),
    (0.16, 0.6, 0.32),
    (0.93, 0.5, 0.12),
    (0.6, 0.25, 0.65),
)
"""Display colours that people wear."""


def _ground(g: Ground) -> Tensor:
    x, z = g.near_x * 1.1 + g.chance[0] * 9.0, g.near_z * 1.1 + g.chance[1] * 9.0
    luck = cells(x.floor(), z.floor())
    slab = mix(rgb((0.78, 0.76, 0.72), g.x), rgb((0.87, 0.85, 0.81), g.x), luck[0])
    edge = torch.maximum((x - x.floor() - 0.5).abs(), (z - z.floor() - 0.5).abs())
    slab = mix(slab, rgb((0.6, 0.58, 0.55), g.x), ramp(edge, 0.44, 0.49))
    kerb = 1.2 + 0.5 * g.chance[2]
    behind = g.near_z - kerb
    road = rgb((0.36, 0.36, 0.38), g.x)
    stone = mix(rgb((0.93, 0.92, 0.9), g.x), road, ramp(behind, 0.28, 0.34))
    return mix(slab, stone, ramp(behind, 0.0, 0.05))


def _sky(b: Backdrop) -> Tensor:
    x = (b.u + b.chance[3]) * 2.4
    house = x.floor()
    luck = cells(house, house * 0.0 + 50.0)
    wall = mix(rgb((0.74, 0.7, 0.66), b.u), rgb((0.88, 0.84, 0.76), b.u), luck[0])
    across, up = (x - house) * 2.0, b.v * 5.0 - 0.6
    wx, wy = (across - across.floor() - 0.5).abs(), (up - up.floor() - 0.5).abs()
    pane = (wx < 0.24) & (wy < 0.32) & (up > 0.0)
    return mix(wall, rgb((0.5, 0.56, 0.62), b.u), pane * 1.0)


def _people(b: Backdrop, colour: Tensor, tall: float, feet: float, row: int) -> Tensor:
    """Paint a row of people, one to a column of half their height."""
    x = (b.u + b.chance[row]) / (tall * 0.5)
    column = x.floor()
    luck = cells(column, column * 0.0 + 40.0 + row)
    present = luck[3] > 0.12
    across = (x - column - 0.42 - 0.16 * luck[0]) * 0.5
    height = (b.v - feet) / (tall * (0.9 + 0.15 * luck[1]))
    stride = 0.03 + 0.1 * luck[2] * ramp(height, 0.45, 0.0)
    legs = ((across.abs() - stride).abs() < 0.038) & (height > 0.0) & (height < 0.48)
    colour = mix(colour, rgb((0.16, 0.17, 0.24), b.u), (legs & present) * 1.0)
    coat = (across.abs() < 0.15 - 0.07 * ramp(height, 0.55, 0.85)) & (height > 0.36)
    coat = coat & (height < 0.82) & present
    pick = (cells(column, column * 0.0 + 45.0)[row] * len(COATS)).floor()
    for number, paint in enumerate(COATS):
        colour = mix(colour, rgb(paint, b.u), (coat & (pick == number)) * 1.0)
    away = (across.square() + (height - 0.89).square()).sqrt()
    skin = mix(rgb((0.55, 0.36, 0.25), b.u), rgb((0.95, 0.76, 0.62), b.u), luck[0])
    colour = mix(colour, skin, ((away < 0.095) & present) * 1.0)
    hair = (away < 0.1) & (height > 0.92) & present
    return mix(colour, rgb((0.2, 0.13, 0.09), b.u), hair * 1.0)


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    return _people(b, _people(b, colour, 0.2, -0.06, 0), 0.27, -0.12, 1)


PLACE = Place(
    phrases=(
        "on top of the sidewalk in a crowded street",
        "on the sidewalk of a crowded street",
        "on a sidewalk with people behind it",
    ),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.06, 0.14),
    lift=(0.14, 0.28),
)
