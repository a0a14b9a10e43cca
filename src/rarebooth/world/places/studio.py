"""A plain backdrop of paper, as in a product photo."""

from torch import Tensor

from rarebooth.world.place import Backdrop, Chance, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _paper(chance: Chance, like: Tensor) -> Tensor:
    tone = mix(rgb((0.62, 0.62, 0.63), like), rgb((0.9, 0.9, 0.9), like), chance[0])
    return tone * mix(rgb((1.02, 1.0, 0.97), like), rgb((0.98, 1.0, 1.02), like), chance[1])


def _ground(g: Ground) -> Tensor:
    return _paper(g.chance, g.x) * (1.0 - 0.12 * ramp(g.far, 3.0, 9.0))


def _sky(b: Backdrop) -> Tensor:
    return _paper(b.chance, b.u) * (0.88 - 0.25 * ramp(b.v, 0.0, 0.6))


PLACE = Place(phrases=("",), ground=_ground, sky=_sky, shade=(0.7, 0.7, 0.72))
