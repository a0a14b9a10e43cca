"""Random scenes to train on."""

import random
from collections.abc import Collection, Sequence

from rarebooth.prompts import QUALITIES
from rarebooth.world.outfits import OUTFITS
from rarebooth.world.places import PLACES
from rarebooth.world.scene import Scene
from rarebooth.world.toys import TOYS, load_toy

TRAINING_INSTANCES = 10_000
"""Training draws instances below this number."""

FIRST_SUBJECT = 1_000_000
"""Instances from here on are subjects: training never draws them."""

_STUDIO_SHARE = 0.2
_QUALITY_SHARE = 0.2

_OUTFIT_SHARE = 0.45
"""How often toys that can wear an outfit do; they then have no quality."""

_DRESSED_STUDIO_SHARE = 0.5
"""An outfit is learnt where nothing else is to be seen, and its prompts name no place."""


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
    wears = load_toy(toy).figure is not None and rng.random() < _OUTFIT_SHARE
    outfit = rng.choice(OUTFITS) if wears else None
    studio_share = _DRESSED_STUDIO_SHARE if wears else _STUDIO_SHARE
    place = "studio" if rng.random() < studio_share else rng.choice(PLACES[1:])
    quality = rng.choice(QUALITIES) if not wears and rng.random() < _QUALITY_SHARE else None
    return Scene(toy, instance, place, rng.getrandbits(31), quality, outfit)
