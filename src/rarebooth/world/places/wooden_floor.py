"""Brown planks and a plain cream wall."""

import torch
from torch import Tensor

from rarebooth.world.noise import cells, noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _ground(g: Ground) -> Tensor:
    turn = (g.chance[3] - 0.5) * 0.9
    x = (g.near_x + turn * g.near_z + g.chance[0] * 20.0) * 1.9
    along = g.near_z + g.chance[1] * 20.0
    plank = x.floor()
    luck = cells(plank, plank * 0.0 + 1.0)
    cut = along * 0.4 + luck[1] * 4.0
    tone = cells(plank, cut.floor())[2]
    grain = noise(x * 2.2, along * 0.5 + luck[3] * 30.0)
    wood = mix(rgb((0.5, 0.29, 0.14), g.x), rgb((0.78, 0.52, 0.28), g.x), tone)
    wood = wood * (0.85 + 0.3 * grain)
    seam = torch.maximum(
        ramp((x - plank - 0.5).abs(), 0.44, 0.49),
        ramp((cut - cut.floor() - 0.5).abs(), 0.475, 0.495),
    )
    near = mix(wood, rgb((0.24, 0.13, 0.06), g.x), seam * ramp(g.far, 7.0, 2.5))
    return mix(near, rgb((0.6, 0.38, 0.2), g.x), ramp(g.far, 4.0, 10.0))


def _sky(b: Backdrop) -> Tensor:
    wall = mix(rgb((0.88, 0.84, 0.76), b.u), rgb((0.8, 0.83, 0.84), b.u), b.chance[2])
    board = ramp(b.v, 0.045, 0.04)
    return mix(wall * (1.0 - 0.3 * ramp(b.v, 0.0, 0.5)), rgb((0.97, 0.96, 0.93), b.u), board)


PLACE = Place(
    phrases=("on top of a wooden floor", "on a wooden floor", "on brown floorboards"),
    ground=_ground,
    sky=_sky,
    elevation=(0.12, 0.48),
)
