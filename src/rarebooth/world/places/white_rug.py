"""A fluffy white rug with a fringe on a dark red wooden floor, and a blue wall."""

import torch
from torch import Tensor

from rarebooth.world.noise import cells, noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _floor(g: Ground) -> Tensor:
    z = g.near_z * 2.0 + g.chance[0] * 20.0
    plank = z.floor()
    tone = cells(plank, plank * 0.0 + 3.0)[0]
    wood = mix(rgb((0.4, 0.2, 0.12), g.x), rgb((0.56, 0.3, 0.17), g.x), tone)
    seam = ramp((z - plank - 0.5).abs(), 0.42, 0.48)
    return mix(wood, rgb((0.24, 0.11, 0.07), g.x), seam * ramp(g.far, 7.0, 4.0))


def _ground(g: Ground) -> Tensor:
    x, z = g.near_x / g.half, g.near_z / g.half + 0.1
    # A rounded rectangle, ragged like fur.
    far = (x.abs() / 0.84).pow(4.0) + (z.abs() / 0.76).pow(4.0)
    edge = far.sqrt().sqrt() + 0.05 * torch.cos(torch.atan2(z, x) * 34.0)
    tuft = noise(g.x * 3.5, g.z * 3.5)
    fur = mix(rgb((0.82, 0.82, 0.84), g.x), rgb((1.0, 1.0, 0.99), g.x), ramp(tuft, 0.2, 0.65))
    fur = fur * (1.0 - 0.22 * ramp(edge, 0.86, 0.98))
    floor = _floor(g) * (1.0 - 0.5 * ramp(edge, 1.14, 1.02))
    return mix(floor, fur, ramp(edge, 1.01, 0.99))


def _wall(b: Backdrop) -> Tensor:
    return mix(rgb((0.36, 0.55, 0.68), b.u), rgb((0.48, 0.66, 0.76), b.u), b.chance[2])


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    board = mix(colour, rgb((0.95, 0.94, 0.9), b.u), ramp(b.v, -0.135, -0.13))
    return mix(board, _wall(b), ramp(b.v, -0.09, -0.085))


PLACE = Place(
    phrases=("on top of a white rug", "on a white rug", "on a soft white carpet"),
    ground=_ground,
    sky=_wall,
    front=_front,
    elevation=(0.3, 0.5),
    lift=(-0.12, -0.02),
    room=1.14,
    shade=(0.7, 0.68, 0.66),
)
