"""Random scenes to train on."""

import random
from collections.abc import Collection, Sequence

from rarebooth.world.places import PLACES
from rarebooth.world.qualities import QUALITIES
from rarebooth.world.scene import Scene
from rarebooth.world.toys import TOYS

TRAINING_INSTANCES = 10_000
"""Training draws instances below this number."""

FIRST_SUBJECT = 1_000_000
"""Instances from here on are subjects: training never draws them."""

_STUDIO_SHARE = 0.2
_QUALITY_SHARE = 0.1


def draw_scene(
    rng: random.Random,
    toys: Sequence[str] = TOYS,
    held_out: Collection[tuple[str, int]] = frozenset(),
) -> Scene:
    """A random training scene.

    Args:
        rng: source of chance.
        toys: class nouns to choose from.
        held_out: (toy, instance) pairs never to draw.
    """
    toy = rng.choice(toys)
    instance = rng.randrange(TRAINING_INSTANCES)
    while (toy, instance) in held_out:
        instance = rng.randrange(TRAINING_INSTANCES)
    place = "studio" if rng.random() < _STUDIO_SHARE else rng.choice(PLACES[1:])
    quality = rng.choice(QUALITIES) if rng.random() < _QUALITY_SHARE else None
    return Scene(toy, instance, place, rng.getrandbits(31), quality)
