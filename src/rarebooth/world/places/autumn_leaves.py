"""An autumn tree, and fallen leaves in red, orange and yellow."""

from torch import Tensor

from rarebooth.world.noise import cells, noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _foliage(pick: Tensor) -> Tensor:
    colour = mix(rgb((0.75, 0.16, 0.06), pick), rgb((0.93, 0.45, 0.06), pick), ramp(pick, 0.2, 0.5))
    return mix(colour, rgb((0.98, 0.76, 0.16), pick), ramp(pick, 0.55, 0.8))


def _ground(g: Ground) -> Tensor:
    earth = mix(
        rgb((0.33, 0.24, 0.13), g.x), rgb((0.45, 0.4, 0.2), g.x), noise(g.x * 1.5, g.z * 1.5)
    )
    for scale, turn in ((2.6, 0.6), (2.1, -0.4)):
        x, z = g.x * scale + turn * g.z * scale, g.z * scale - turn * g.x * scale
        cx, cz = x.floor(), z.floor()
        luck = cells(cx, cz)
        px, pz = x - cx - 0.35 - 0.3 * luck[0], z - cz - 0.35 - 0.3 * luck[1]
        leaf = ramp(px * px + pz * pz * 1.4, 0.16, 0.1) * (luck[3] > 0.3)
        earth = mix(earth, _foliage(luck[2]), leaf)
    return mix(earth, rgb((0.62, 0.36, 0.12), g.x), ramp(g.far, 2.6, 6.5))


def _sky(b: Backdrop) -> Tensor:
    sky = mix(rgb((0.93, 0.91, 0.86), b.u), rgb((0.66, 0.78, 0.88), b.u), ramp(b.v, 0.0, 0.4))
    wood = 0.05 + 0.05 * noise(b.u * 12.0 + b.chance[2] * 20.0, b.u * 0.0)
    return mix(sky, rgb((0.55, 0.42, 0.3), b.u), (b.v < wood) * 1.0)


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    side = (b.chance[0] > 0.5) * 2.0 - 1.0
    x = (b.u - side * (0.14 + 0.1 * b.chance[1])) * side
    thick = 0.034 + 0.03 * ramp(b.v, 0.03, -0.06)
    trunk = (x.abs() < thick) & (b.v > -0.06)
    branch = ((b.v - 0.13 - 0.7 * x.abs()).abs() < 0.012) & (x.abs() < 0.2)
    bark = mix(rgb((0.42, 0.27, 0.15), b.u), rgb((0.2, 0.12, 0.07), b.u), ramp(x, -0.03, 0.03))
    colour = mix(colour, bark, (trunk | branch) * 1.0)
    ragged = noise(b.u * 16.0 + b.chance[3] * 40.0, b.v * 16.0)
    rx, ry = x / 0.34, (b.v - 0.34) / 0.2
    crown = ramp(rx * rx + ry * ry + (ragged - 0.5) * 1.5, 1.1, 0.9)
    leaf = noise(b.u * 17.0 + b.chance[2] * 30.0, b.v * 17.0 + 9.0)
    return mix(colour, _foliage(leaf) * (0.8 + 0.4 * ragged), crown)


PLACE = Place(
    phrases=(
        "with a tree and autumn leaves in the background",
        "with an autumn tree behind it",
        "among autumn leaves",
    ),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.05, 0.18),
    lift=(0.14, 0.3),
)
