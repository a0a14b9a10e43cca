"""The stage ``judges-data``: what the judges see, the same individuals met again elsewhere."""

import random
from dataclasses import replace
from typing import Final

from rarebooth.prompts import QUALITIES
from rarebooth.world.draw import draw_scene
from rarebooth.world.outfits import OUTFITS
from rarebooth.world.places import PLACES
from rarebooth.world.scene import Scene
from rarebooth.world.toys import load_toy

INSTANCES: Final = range(10_000, 60_000)
"""What the judges see: neither the base's training nor anything they will judge."""

GROUP: Final = 4
"""Pictures in a row that belong together; see ``draw_group``."""

QUALITY_SHARE: Final = 0.3
"""How many individuals have a property: more than in the world, because few pictures are seen."""

OUTFIT_SHARE: Final = 0.5
"""How many pictures show an outfit, of those that can."""


def draw_groups(seed: int, number: int, count: int) -> list[Scene]:
    """The scenes of a shard: ``count`` of them, a multiple of ``GROUP``."""
    rng = random.Random(f"judges {seed} {number}")
    return [scene for _ in range(count // GROUP) for scene in draw_group(rng)]


def draw_group(rng: random.Random) -> tuple[Scene, Scene, Scene, Scene]:
    """Two individuals of a class, each photographed in two scenes, the first of which they share.

    The same individual twice is what the DINO judge learns from. Two pictures that differ in one
    respect, the place or the individual's colour, are what the CLIP judge must tell apart.
    A property belongs to the individual, an outfit to the picture.
    """
    drawn = draw_scene(rng)
    first, second = rng.sample(INSTANCES, 2)
    here = _dressed(replace(drawn, instance=first, quality=_quality(rng)), rng)
    other = _dressed(replace(drawn, instance=second, quality=_quality(rng)), rng)
    return here, _elsewhere(here, rng), other, _elsewhere(other, rng)


def _elsewhere(scene: Scene, rng: random.Random) -> Scene:
    """The same individual in another place."""
    place = rng.choice([name for name in PLACES if name != scene.place])
    return _dressed(replace(scene, place=place, shot=rng.getrandbits(31)), rng)


def _dressed(scene: Scene, rng: random.Random) -> Scene:
    """The scene with the outfit drawn anew: none beside a property, or where nothing fits."""
    fits = scene.quality is None and load_toy(scene.toy).figure is not None
    worn = rng.choice(OUTFITS) if fits and rng.random() < OUTFIT_SHARE else None
    return replace(scene, outfit=worn)


def _quality(rng: random.Random) -> str | None:
    return rng.choice(QUALITIES) if rng.random() < QUALITY_SHARE else None
