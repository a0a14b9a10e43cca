"""A round mirror in a golden frame on a green table, which shows the toy upside down."""

from torch import Tensor

from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb

_RADIUS = 0.74
"""Of the glass, in half widths of the picture."""

_FRAME = 0.12


def _away(g: Ground) -> Tensor:
    x, z = g.near_x / g.half, g.near_z / g.half + 0.16
    return (x * x + z * z).sqrt()


def _ground(g: Ground) -> Tensor:
    away = _away(g)
    table = mix(rgb((0.12, 0.5, 0.46), g.x), rgb((0.08, 0.36, 0.36), g.x), ramp(g.far, 2.0, 8.0))
    table = table * (1.0 - 0.45 * ramp(away, _RADIUS + _FRAME + 0.14, _RADIUS + _FRAME))
    round_ = ramp((away - _RADIUS - 0.5 * _FRAME).abs(), 0.5 * _FRAME, 0.1 * _FRAME)
    gold = mix(rgb((0.62, 0.4, 0.1), g.x), rgb((1.0, 0.86, 0.42), g.x), round_)
    colour = mix(table, gold, ramp(away, _RADIUS + _FRAME + 0.01, _RADIUS + _FRAME - 0.01))
    return mix(colour, rgb((0.9, 0.96, 1.0), g.x), ramp(away, _RADIUS + 0.01, _RADIUS - 0.01))


def _mirror(g: Ground) -> Tensor:
    # Two slanting streaks of light say "glass" at a glance.
    x = (g.near_x + 0.7 * g.near_z) / g.half + 0.5 * (g.chance[0] - 0.5)
    streak = ramp((x + 0.45).abs(), 0.13, 0.1) + ramp((x + 0.2).abs(), 0.05, 0.02)
    return (0.9 - 0.35 * streak) * ramp(_away(g), _RADIUS, _RADIUS - 0.02)


def _sky(b: Backdrop) -> Tensor:
    return mix(rgb((0.88, 0.94, 0.99), b.u), rgb((0.62, 0.76, 0.9), b.u), ramp(b.v, 0.1, 1.2))


PLACE = Place(
    phrases=("on top of a mirror", "on a mirror", "standing on a round mirror"),
    ground=_ground,
    sky=_sky,
    elevation=(0.3, 0.46),
    lift=(-0.24, -0.14),
    room=1.22,
    mirror=_mirror,
)
