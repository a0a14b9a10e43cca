"""Deep green: leaf-strewn earth, trunks and layers of leaves."""

from torch import Tensor

from rarebooth.world.noise import cells, clouds, noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _ground(g: Ground) -> Tensor:
    leaf = ramp(noise(g.x * 3.2 + noise(g.x, g.z) * 2.0, g.z * 2.2), 0.3, 0.7)
    moss = mix(rgb((0.14, 0.22, 0.07), g.x), rgb((0.22, 0.48, 0.12), g.x), leaf)
    earth = ramp(noise(g.x * 1.3, g.z * 1.3), 0.55, 0.75)
    near = mix(moss, rgb((0.27, 0.2, 0.1), g.x), earth * 0.7)
    return mix(near, rgb((0.1, 0.26, 0.09), g.x), ramp(g.far, 3.5, 9.0))


def _sky(b: Backdrop) -> Tensor:
    shift = b.chance[2] * 40.0
    leaves = noise(b.u * 12.0 + shift, b.v * 12.0 + 3.0)
    colour = mix(rgb((0.03, 0.16, 0.06), b.u), rgb((0.1, 0.42, 0.13), b.u), ramp(leaves, 0.3, 0.6))
    near = ramp(clouds(b.u * 8.0 + shift + 9.0, b.v * 8.0, 2), 0.5, 0.58)
    colour = mix(colour, rgb((0.2, 0.58, 0.16), b.u), near)
    light = ramp(leaves, 0.66, 0.85) * ramp(b.v, 0.1, 0.3)
    return mix(colour, rgb((0.8, 0.95, 0.6), b.u), light * 0.7)


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    column = ((b.u + b.chance[0]) * 5.0).floor()
    luck = cells(column, column * 0.0 + 3.0)
    centre = 0.3 + 0.4 * luck[0]
    across = ((b.u + b.chance[0]) * 5.0 - column - centre) / (0.09 + 0.09 * luck[1])
    wobble = noise(b.v * 9.0, column) * 0.5
    trunk = ramp((across + wobble).abs(), 1.0, 0.85) * (luck[2] > 0.3) * ramp(b.v, -0.05, -0.03)
    bark = mix(rgb((0.2, 0.12, 0.06), b.u), rgb((0.42, 0.27, 0.14), b.u), ramp(across, 1.0, -1.0))
    colour = mix(colour, bark, trunk)
    # Ferns hang into the picture from above.
    reach = 0.24 + 0.1 * noise(b.u * 14.0 + b.chance[1] * 30.0, b.u * 0.0)
    return mix(colour, rgb((0.12, 0.46, 0.1), b.u), ramp(b.v, reach, reach + 0.02) * 0.9)


PLACE = Place(
    phrases=("in the jungle", "in a jungle", "among jungle trees"),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.06, 0.3),
    sun=0.8,
    shade=(0.52, 0.68, 0.5),
)
