"""Snow-capped peaks behind a meadow."""

from torch import Tensor

from rarebooth.world.noise import clouds, noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _ground(g: Ground) -> Tensor:
    patch = noise(g.x * 0.9, g.z * 0.9) * 0.6 + noise(g.x * 7.0, g.z * 7.0) * 0.4
    near = mix(rgb((0.4, 0.5, 0.22), g.x), rgb((0.6, 0.64, 0.36), g.x), patch)
    return mix(near, rgb((0.36, 0.5, 0.32), g.x), ramp(g.far, 6.0, 18.0))


def _sky(b: Backdrop) -> Tensor:
    sky = mix(rgb((0.82, 0.91, 0.98), b.u), rgb((0.36, 0.62, 0.94), b.u), ramp(b.v, 0.0, 0.4))
    puff = clouds(b.u * 6.0 + b.chance[2] * 50.0, b.v * 14.0, 2)
    return mix(sky, rgb((1.0, 1.0, 1.0), b.u), ramp(puff, 0.58, 0.75) * 0.8)


def _ridge(b: Backdrop, centre: Tensor, tall: Tensor, steep: float) -> tuple[Tensor, Tensor]:
    away = (b.u - centre).abs()
    rough = noise(b.u * 24.0 + b.chance[0] * 40.0, b.u * 0.0) - 0.5
    return tall - away * steep + rough * 0.035, b.u - centre


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    for centre, tall, steep in (
        (0.42 - b.chance[0] * 0.3, 0.2 + 0.06 * b.chance[1], 0.6),
        (-0.38 + b.chance[1] * 0.3, 0.24 + 0.06 * b.chance[0], 0.7),
        ((b.chance[3] - 0.5) * 0.5, 0.3 + 0.06 * b.chance[2], 0.95),
    ):
        top, side = _ridge(b, centre, tall, steep)
        folds = noise(b.u * 16.0 + b.chance[2] * 20.0, b.v * 9.0)
        rock = mix(rgb((0.5, 0.5, 0.56), b.u), rgb((0.3, 0.33, 0.42), b.u), ramp(side, -0.02, 0.03))
        rock = rock * (0.8 + 0.4 * folds)
        cap = ramp(b.v, tall * 0.52 + folds * 0.08, tall * 0.52 + folds * 0.08 + 0.015)
        snow = mix(rgb((0.98, 0.99, 1.0), b.u), rgb((0.74, 0.8, 0.9), b.u), ramp(side, -0.01, 0.02))
        colour = mix(colour, mix(rock, snow, cap), ((b.v < top) & (b.v > 0.0)).to(colour.dtype))
    hill = 0.025 + 0.03 * noise(b.u * 9.0 + b.chance[1] * 9.0, b.u * 0.0)
    near = ((b.v < hill) & (b.v > -0.004)).to(colour.dtype)
    return mix(colour, rgb((0.2, 0.38, 0.26), b.u), near)


PLACE = Place(
    phrases=(
        "with a mountain in the background",
        "with mountains behind it",
        "in front of a mountain",
    ),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.05, 0.15),
    lift=(0.16, 0.32),
)
