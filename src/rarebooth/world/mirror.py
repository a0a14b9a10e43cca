"""What shiny and wet surfaces reflect."""

from torch import Tensor

from rarebooth.world.tensors import Vec, mix, ramp, rgb


def reflection(way: Vec, light: Vec, like: Tensor) -> Tensor:
    """Light [3, M] from directions: bright sky, dark horizon, floor, and a large lamp."""
    sky = mix(rgb((0.95, 0.96, 1.0), like), rgb((0.4, 0.6, 0.9), like), ramp(way.y, 0.1, 0.9))
    floor = mix(rgb((0.16, 0.14, 0.13), like), rgb((0.5, 0.47, 0.43), like), ramp(-way.y, 0.0, 0.7))
    seen = mix(floor, sky, ramp(way.y, -0.02, 0.06))
    return seen + 1.6 * ramp(way.dot(light), 0.9, 0.95)
