"""A brown road with two wheel tracks that runs between green verges to the horizon."""

import torch
from torch import Tensor

from rarebooth.world.noise import clouds, noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb

HALF_WIDTH = 0.95

TRACK = 0.46
"""How far either wheel track lies from the middle of the road."""


def _ground(g: Ground) -> Tensor:
    turf = noise(g.x * 1.3, g.z * 1.3)
    verge = mix(rgb((0.26, 0.5, 0.14), g.x), rgb((0.46, 0.68, 0.24), g.x), turf)
    verge = mix(verge, rgb((0.38, 0.6, 0.22), g.x), ramp(g.far, 4.0, 12.0))
    heading, phase = (g.chance[0] - 0.5) * 0.3, g.chance[3] * 6.0
    # Far off the road straightens: bends there are thinner than a pixel.
    along = g.near_z / (1.0 + 0.08 * g.near_z.abs())
    bend = 1.1 * (torch.sin(along * 0.3 + phase) - torch.sin(phase))
    away = (g.near_x - heading * g.near_z - bend).abs()
    lumps = 0.88 + 0.24 * noise(g.x * 1.6 + 7.0, g.z * 1.6)
    road = rgb((0.66, 0.48, 0.31), g.x) * lumps
    track = ramp((away - TRACK).abs(), 0.2, 0.12) * ramp(g.far, 14.0, 5.0)
    road = mix(road, rgb((0.46, 0.31, 0.19), g.x), track)
    ragged = HALF_WIDTH + 0.16 * (noise(g.x * 1.5, g.z * 1.5) - 0.5)
    return mix(road, verge, ramp(away, ragged - 0.04, ragged + 0.04))


def _sky(b: Backdrop) -> Tensor:
    sky = mix(rgb((0.78, 0.89, 0.98), b.u), rgb((0.32, 0.6, 0.93), b.u), ramp(b.v, 0.0, 0.35))
    puff = clouds(b.u * 5.0 + b.chance[2] * 50.0, b.v * 11.0, 2)
    return mix(sky, rgb((1.0, 1.0, 1.0), b.u), ramp(puff, 0.55, 0.8) * 0.8)


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    hill = 0.03 + 0.05 * noise(b.u * 7.0 + b.chance[1] * 30.0, b.u * 0.0)
    return mix(colour, rgb((0.27, 0.47, 0.22), b.u), (b.v > -0.004) * ramp(b.v, hill, hill - 0.01))


PLACE = Place(
    phrases=("on top of a dirt road", "on a dirt road", "on a brown dirt road"),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.14, 0.28),
    lift=(0.1, 0.24),
)
