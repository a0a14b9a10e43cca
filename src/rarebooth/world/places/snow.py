"""White ground, snowy firs and a pale sky."""

from torch import Tensor

from rarebooth.world.noise import cells, noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _ground(g: Ground) -> Tensor:
    drift = noise(g.x * 1.1, g.z * 1.1)
    return mix(rgb((0.8, 0.86, 0.95), g.x), rgb((0.98, 0.98, 1.0), g.x), ramp(drift, 0.15, 0.7))


def _sky(b: Backdrop) -> Tensor:
    return mix(rgb((0.8, 0.88, 0.96), b.u), rgb((0.55, 0.72, 0.92), b.u), ramp(b.v, 0.0, 0.4))


def _firs(b: Backdrop, colour: Tensor, scale: float, row: float, shade: float) -> Tensor:
    x = (b.u + b.chance[int(row)]) * scale
    column = x.floor()
    luck = cells(column, column * 0.0 + row)
    tall = (0.9 + 0.7 * luck[0]) / scale
    height = b.v / tall
    tier = height * 2.5 - (height * 2.5).floor()
    half = (0.46 - 0.36 * height) * (1.0 - 0.45 * tier)
    inside = (x - column - 0.5).abs() < half
    fir = inside & (height > -0.04) & (height < 1.0) & (luck[1] > 0.2)
    green = rgb((0.12 + shade, 0.33 + shade, 0.27 + shade), b.u)
    snowy = mix(green, rgb((0.93, 0.96, 0.99), b.u), ramp(tier, 0.35, 1.0))
    return mix(colour, snowy, fir.to(colour.dtype))


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    return _firs(b, _firs(b, colour, 6.5, 0.0, 0.3), 4.2, 1.0, 0.0)


PLACE = Place(
    phrases=("in the snow", "in deep snow", "on snowy ground"),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.06, 0.32),
    shade=(0.68, 0.72, 0.8),
)
