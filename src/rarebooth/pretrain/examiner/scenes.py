"""What the examiner learns from: properties and outfits far oftener than the world has them."""

import random
from dataclasses import replace
from typing import Final

from rarebooth.prompts import QUALITIES
from rarebooth.world.draw import draw_scene
from rarebooth.world.outfits import OUTFITS
from rarebooth.world.places import PLACES
from rarebooth.world.scene import Scene
from rarebooth.world.toys import TOYS, load_toy

INSTANCES: Final = range(60_000, 100_000)
"""Neither the base, nor the judges, nor any measurement draws these."""

QUALITY_SHARE: Final = 1 / 3
OUTFIT_SHARE: Final = 0.6
"""How often a toy wears an outfit, of those that can and have no property."""

LIVE_SHARE: Final = 0.15
"""How many toys are drawn again among those that can wear outfits: few classes can."""


def draw_examiner_scenes(seed: int, number: int, count: int) -> list[Scene]:
    """The scenes of a shard."""
    rng = random.Random(f"examiner {seed} {number}")
    return [_scene(rng) for _ in range(count)]


def wearers() -> list[str]:
    """The class nouns of toys that can wear outfits."""
    return [noun for noun in TOYS if load_toy(noun).figure is not None]


def _scene(rng: random.Random) -> Scene:
    live = wearers()
    drawn = draw_scene(rng, live if rng.random() < LIVE_SHARE else TOYS)
    quality = rng.choice(QUALITIES) if rng.random() < QUALITY_SHARE else None
    dressed = quality is None and drawn.toy in live and rng.random() < OUTFIT_SHARE
    return replace(
        drawn,
        instance=rng.choice(INSTANCES),
        place=rng.choice(PLACES),
        quality=quality,
        outfit=rng.choice(OUTFITS) if dressed else None,
    )
