"""The Eiffel Tower, left or right of the toy, behind the lawns of Paris."""

from torch import Tensor

from rarebooth.world.noise import noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb

TALL = 0.33
"""The tower's height on the backdrop; its widths are shares of this."""
DECKS = (0.2, 0.4)
"""Heights of the two platforms, as shares of the tower's."""


def _ground(g: Ground) -> Tensor:
    blades = noise(g.x * 1.3, g.z * 1.3)
    lawn = mix(rgb((0.42, 0.6, 0.28), g.x), rgb((0.58, 0.74, 0.4), g.x), blades)
    return mix(lawn, rgb((0.55, 0.7, 0.4), g.x), ramp(g.far, 4.0, 12.0))


def _sky(b: Backdrop) -> Tensor:
    return mix(rgb((0.98, 0.95, 0.9), b.u), rgb((0.74, 0.85, 0.95), b.u), ramp(b.v, 0.0, 0.35))


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    trees = 0.025 + 0.03 * noise(b.u * 12.0 + b.chance[2] * 30.0, b.u * 0.0)
    colour = mix(colour, rgb((0.34, 0.5, 0.3), b.u), (b.v < trees) & (b.v > -0.01))
    side = (b.chance[0] > 0.5) * 2.0 - 1.0
    across = (b.u - side * (0.25 + 0.03 * b.chance[1])).abs() / TALL
    height = (b.v + 0.01) / TALL
    taper = (1.0 - height).clamp(0.0, 1.0)
    half = 0.034 + 0.33 * taper * taper * taper
    # Below each platform the legs stand apart: under an arch, and under a narrow gap.
    low, high = DECKS
    arch = (across / 0.2).square() + (height / (low - 0.03)).square() < 1.0
    gap = (height > low) & (height < high - 0.03) & (across < half - 0.08)
    iron = (across < half) & ~arch & ~gap & (height > 0.0) & (height < 1.0)
    for deck in DECKS:
        iron = iron | (((height - deck).abs() < 0.022) & (across < half + 0.03))
    braces = (height * 9.0 + across * 9.0, height * 9.0 - across * 9.0)
    lattice = [ramp((way - way.floor() - 0.5).abs(), 0.3, 0.1) for way in braces]
    steel = mix(rgb((0.36, 0.27, 0.22), b.u), rgb((0.56, 0.45, 0.38), b.u), lattice[0] * lattice[1])
    return mix(colour, steel, iron * 1.0)


PLACE = Place(
    phrases=(
        "with the eiffel tower in the background",
        "with the eiffel tower behind it",
        "in front of the eiffel tower",
    ),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.04, 0.1),
    lift=(0.2, 0.34),
)
