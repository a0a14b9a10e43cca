"""A blue house with a gray roof, white windows and a door, on a lawn."""

from torch import Tensor

from rarebooth.world.noise import noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _ground(g: Ground) -> Tensor:
    blades = noise(g.x * 1.5, g.z * 1.5)
    lawn = mix(rgb((0.34, 0.56, 0.22), g.x), rgb((0.52, 0.72, 0.34), g.x), blades)
    return mix(lawn, rgb((0.42, 0.63, 0.3), g.x), ramp(g.far, 5.0, 14.0))


def _sky(b: Backdrop) -> Tensor:
    return mix(rgb((0.95, 0.95, 0.93), b.u), rgb((0.72, 0.84, 0.93), b.u), ramp(b.v, 0.0, 0.4))


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    x = b.u - (b.chance[0] - 0.5) * 0.36
    half, eaves, top = 0.29, 0.22, 0.38
    bush = 0.04 + 0.06 * noise(b.u * 11.0 + b.chance[1] * 20.0, b.u * 0.0)
    colour = mix(colour, rgb((0.2, 0.42, 0.2), b.u), ((b.v < bush) & (b.v > -0.01)) * 1.0)
    wall = (x.abs() < half) & (b.v > -0.02) & (b.v < eaves)
    boards = b.v * 17.0
    blue = rgb((0.15, 0.42, 0.82), b.u) * (0.82 + 0.25 * ramp(boards - boards.floor(), 0.0, 0.5))
    colour = mix(colour, blue, wall * 1.0)
    roof = (b.v >= eaves) & (x.abs() < (half + 0.05) * (top + 0.04 - b.v) / (top + 0.04 - eaves))
    roof = roof & (b.v < top)
    colour = mix(colour, rgb((0.34, 0.33, 0.37), b.u), roof * 1.0)
    wx, wy = (x.abs() - 0.18).abs(), (b.v - 0.12).abs()
    colour = mix(colour, rgb((0.97, 0.97, 0.97), b.u), ((wx < 0.062) & (wy < 0.062)) * 1.0)
    pane = (wx < 0.04) & (wy < 0.04)
    colour = mix(colour, rgb((0.62, 0.8, 0.9), b.u), pane * 1.0)
    door = (x.abs() < 0.055) & (b.v > -0.02) & (b.v < 0.15)
    colour = mix(colour, rgb((0.97, 0.97, 0.97), b.u), door * 1.0)
    inner = (x.abs() < 0.036) & (b.v > -0.02) & (b.v < 0.13)
    return mix(colour, rgb((0.6, 0.2, 0.16), b.u), inner * 1.0)


PLACE = Place(
    phrases=(
        "with a blue house in the background",
        "with a blue house behind it",
        "in front of a blue house",
    ),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.05, 0.15),
    lift=(0.16, 0.32),
)
