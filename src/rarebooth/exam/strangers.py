"""True renders of individuals that no training has drawn."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from rarebooth.pretrain.examiner.scenes import wearers
from rarebooth.prompts import QUALITIES
from rarebooth.world.draw import draw_scene
from rarebooth.world.outfits import OUTFITS
from rarebooth.world.render import Pictures, render
from rarebooth.world.scene import Scene

INSTANCES: Final = range(3_000_000, 4_000_000)

Renderer = Callable[[Sequence[Scene], int], Pictures]


def strangers(count: int, key: str) -> list[Scene]:
    """Scenes as the world draws them; the same ones for the same key."""
    rng = random.Random(f"exam {key}")
    return [replace(draw_scene(rng), instance=rng.choice(INSTANCES)) for _ in range(count)]


def with_and_without_property(count: int, key: str) -> tuple[list[Scene], list[Scene]]:
    """Half of the scenes have a property, drawn evenly, half have none; no outfits."""
    rng = random.Random(f"property {key}")
    bare = [replace(s, quality=None, outfit=None) for s in strangers(count, f"property {key}")]
    half = count // 2
    return [replace(s, quality=rng.choice(QUALITIES)) for s in bare[:half]], bare[half:]


def with_and_without_outfit(count: int, key: str) -> tuple[list[Scene], list[Scene]]:
    """Half of the scenes show an outfit, drawn evenly, half none; all of toys that could wear one.

    No properties.
    """
    rng = random.Random(f"outfit {key}")
    live = wearers()
    bare = [
        replace(s, toy=rng.choice(live), quality=None, outfit=None)
        for s in strangers(count, f"outfit {key}")
    ]
    half = count // 2
    return [replace(s, outfit=rng.choice(OUTFITS)) for s in bare[:half]], bare[half:]


def photograph(scenes: Sequence[Scene], size: int) -> Pictures:
    """Pictures of ``size`` pixels, on the CPU."""
    return render(scenes, size=size)
