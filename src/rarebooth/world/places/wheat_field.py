"""Golden wheat up to the horizon under a light sky."""

from torch import Tensor

from rarebooth.world.noise import noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _ground(g: Ground) -> Tensor:
    soil = mix(
        rgb((0.6, 0.45, 0.24), g.x), rgb((0.76, 0.6, 0.33), g.x), noise(g.x * 1.6, g.z * 1.6)
    )
    straw = ramp(noise(g.x * 4.5, g.z * 1.8), 0.55, 0.85) * ramp(g.far, 5.0, 2.5)
    soil = mix(soil, rgb((0.92, 0.78, 0.42), g.x), straw)
    field = mix(rgb((0.78, 0.58, 0.16), g.x), rgb((0.93, 0.76, 0.3), g.x), noise(g.x * 0.8, g.far))
    return mix(soil, field, ramp(g.near_z, 1.2, 1.6))


def _sky(b: Backdrop) -> Tensor:
    return mix(rgb((0.93, 0.93, 0.9), b.u), rgb((0.5, 0.72, 0.93), b.u), ramp(b.v, 0.0, 0.35))


def _stalks(
    b: Backdrop, colour: Tensor, scale: float, row: int, base: float, tall: float
) -> Tensor:
    x = b.u * scale + b.chance[row] * 40.0
    tip = base + tall * (0.75 + 0.4 * noise(x, x * 0.0 + row))
    sway = noise(x * 0.9 + b.v * 3.0, b.v * 5.0 + row)
    tone = mix(rgb((0.72, 0.5, 0.1), b.u), rgb((0.99, 0.84, 0.38), b.u), ramp(sway, 0.25, 0.7))
    tone = tone * (0.7 + 0.4 * ramp(b.v, base, tip))
    return mix(colour, tone, ((b.v < tip) & (b.v > base - 0.03)) * 1.0)


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    hill = 0.03 + 0.02 * noise(b.u * 6.0 + b.chance[2] * 9.0, b.u * 0.0)
    colour = mix(colour, rgb((0.36, 0.48, 0.3), b.u), ((b.v < hill) & (b.v > 0.0)) * 1.0)
    colour = _stalks(b, colour, 80.0, 0, -0.02, 0.06)
    return _stalks(b, colour, 60.0, 1, -0.07, 0.14)


PLACE = Place(
    phrases=(
        "with a wheat field in the background",
        "with golden wheat behind it",
        "in front of a wheat field",
    ),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.05, 0.17),
    lift=(0.14, 0.3),
)
