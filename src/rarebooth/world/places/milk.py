"""An ocean of milk: cream swells up to a warm sky, and a splash around the toy."""

import torch
from torch import Tensor

from rarebooth.world.noise import noise
from rarebooth.world.place import Backdrop, Chance, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _milk(light: Tensor) -> Tensor:
    """Milk from its shaded troughs (0) to its bright crests (1)."""
    return mix(rgb((0.87, 0.85, 0.8), light), rgb((1.0, 1.0, 0.98), light), light)


def _ground(g: Ground) -> Tensor:
    x, z = g.near_x + g.chance[0] * 40.0, g.near_z + g.chance[1] * 40.0
    swell = 0.5 + 0.5 * torch.sin(z * 2.6 + 4.0 * noise(x * 0.5, z * 0.5))
    light = mix(
        0.45 + 0.55 * ramp(swell, 0.0, 0.6), torch.full_like(x, 0.7), ramp(g.far, 4.0, 12.0)
    )
    # A splash: a raised rim in full light, and its shaded outer side.
    reach = 0.1 + 0.16 * noise(x * 4.5, z * 4.5)
    rim = ramp((g.gap - reach).abs(), 0.1, 0.06)
    trough = ramp((g.gap - reach - 0.16).abs(), 0.12, 0.02)
    return _milk(torch.maximum(light * (1.0 - trough), rim))


def _mirror(g: Ground) -> Tensor:
    return 0.22 * ramp(g.far, 9.0, 4.0)


def _sky(b: Backdrop) -> Tensor:
    sky = mix(rgb((1.0, 0.87, 0.62), b.u), rgb((0.98, 0.68, 0.46), b.u), ramp(b.v, 0.0, 0.3))
    # Only the milk's reflection sees so high.
    return mix(sky, rgb((1.0, 1.0, 0.98), b.u), ramp(b.v, 0.3, 0.4))


def _crests(b: Backdrop, chance: Chance, row: int, top: float) -> Tensor:
    x = b.u * (9.0 - 3.0 * row) + chance[row] * 9.0
    phase = x - x.floor()
    # Rounded waves that lean to one side.
    return top + 0.03 * torch.sin(phase * 3.1416).abs().sqrt()


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    for row, (top, base) in enumerate(((0.0, -0.03), (-0.05, -0.11))):
        crest = _crests(b, b.chance, row, top)
        light = ramp(crest - b.v, 0.035, 0.0)
        colour = mix(
            colour, _milk(0.15 + 0.85 * light), ramp(b.v, base, base + 0.03) * (b.v < crest)
        )
    return colour


PLACE = Place(
    phrases=("floating in an ocean of milk", "floating in milk", "in a sea of white milk"),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.12, 0.32),
    lift=(0.02, 0.16),
    shade=(0.74, 0.7, 0.64),
    sink=0.18,
    mirror=_mirror,
)
