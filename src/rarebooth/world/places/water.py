"""Blue water up to the horizon, with soft broad waves; the toy floats in it."""

import torch
from torch import Tensor

from rarebooth.world.noise import noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _waves(g: Ground) -> Tensor:
    """Height of the waves, 0..1, flat far away where they would be finer than the picture."""
    x, z = g.near_x + g.chance[0] * 40.0, g.near_z + g.chance[1] * 40.0
    height = 0.65 * noise(x * 1.3 + z * 0.5, z * 1.7) + 0.35 * noise(x * 2.4 - z, z * 3.0 + 7.0)
    return mix(height, torch.full_like(x, 0.5), ramp(g.far, 5.0, 14.0))


def _rings(g: Ground) -> Tensor:
    """Ripples that spread from the toy, -1..1."""
    return torch.cos(g.gap * 24.0) * ramp(g.gap, 0.75, 0.1)


def _ground(g: Ground) -> Tensor:
    height = ramp(_waves(g), 0.25, 0.75)
    near = mix(rgb((0.03, 0.3, 0.66), g.x), rgb((0.16, 0.62, 0.86), g.x), height)
    water = mix(near, rgb((0.06, 0.36, 0.7), g.x), ramp(g.far, 4.0, 16.0))
    rings = _rings(g)
    water = mix(water, rgb((0.86, 0.96, 1.0), g.x), 0.75 * rings.clamp_min(0.0))
    return water * (1.0 - 0.25 * (-rings).clamp_min(0.0))


def _mirror(g: Ground) -> Tensor:
    return 0.4 * ramp(_waves(g), 0.75, 0.35) * ramp(g.far, 12.0, 4.0)


def _sky(b: Backdrop) -> Tensor:
    sky = mix(rgb((0.86, 0.94, 0.99), b.u), rgb((0.42, 0.7, 0.96), b.u), ramp(b.v, 0.0, 0.35))
    return mix(sky, rgb((0.72, 0.86, 0.97), b.u), ramp(b.v, 0.02, 0.0))


PLACE = Place(
    phrases=("floating on top of water", "floating on blue water", "floating on a lake"),
    ground=_ground,
    sky=_sky,
    elevation=(0.12, 0.32),
    lift=(0.02, 0.16),
    sink=0.18,
    mirror=_mirror,
)
