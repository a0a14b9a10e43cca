"""Yellow sand, a strip of blue sea with surf, and a summer sky."""

from torch import Tensor

from rarebooth.world.noise import clouds, noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _ground(g: Ground) -> Tensor:
    ripple = noise(g.x * 1.5, g.z * 2.5)
    sand = mix(rgb((0.84, 0.7, 0.45), g.x), rgb((0.97, 0.88, 0.66), g.x), ripple)
    shore = 1.9 + g.chance[1] * 1.6 + 0.5 * noise(g.near_x * 0.8 + g.chance[0] * 9.0, g.near_x * 0)
    wet = mix(sand, rgb((0.66, 0.53, 0.36), g.x), ramp(g.near_z, shore - 0.6, shore))
    wave = noise(g.near_x * 0.5, g.near_z * 1.1)
    sea = mix(rgb((0.12, 0.62, 0.76), g.x), rgb((0.04, 0.36, 0.68), g.x), ramp(g.far, 5.0, 14.0))
    sea = mix(
        sea, rgb((0.75, 0.92, 0.96), g.x), ramp(wave, 0.6, 0.9) * 0.5 * ramp(g.far, 12.0, 5.0)
    )
    colour = mix(wet, sea, ramp(g.near_z, shore, shore + 0.1))
    surf = ramp((g.near_z - shore - 0.1).abs(), 0.3, 0.12)
    return mix(colour, rgb((0.97, 0.99, 1.0), g.x), surf)


def _sky(b: Backdrop) -> Tensor:
    sky = mix(rgb((0.74, 0.88, 0.98), b.u), rgb((0.25, 0.58, 0.95), b.u), ramp(b.v, 0.0, 0.35))
    puff = clouds(b.u * 6.0 + b.chance[2] * 50.0, b.v * 12.0, 2)
    return mix(sky, rgb((1.0, 1.0, 1.0), b.u), ramp(puff, 0.5, 0.75) * 0.9)


PLACE = Place(
    phrases=("on the beach", "at the beach", "on a sandy beach by the sea"),
    ground=_ground,
    sky=_sky,
    elevation=(0.07, 0.28),
)
