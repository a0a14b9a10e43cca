"""The stage ``render``: shards of pictures of random scenes."""

import hashlib
import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import torch

from rarebooth import world
from rarebooth.pretrain.shards import SHARD_SIZE, WORLD, Shard, numbers_of, path_of, write_shard
from rarebooth.pretrain.training import LOG
from rarebooth.world.draw import draw_scene
from rarebooth.world.render import Pictures, render
from rarebooth.world.scene import Scene

SHARDS_AT_ONCE: Final = 8
"""The renderer is faster with many scenes of the same toy and place, so it gets several shards."""

Renderer = Callable[[Sequence[Scene], int, str], Pictures]
Draw = Callable[[int, int, int], list[Scene]]
"""From the seed, a shard's number and how many: the scenes of the shard."""


def draw_scenes(seed: int, number: int, count: int) -> list[Scene]:
    """The scenes of a shard."""
    rng = random.Random(f"shard {seed} {number}")
    return [draw_scene(rng) for _ in range(count)]


def render_shards(
    data: Path,
    numbers: Sequence[int],
    *,
    seed: int,
    size: int,
    device: str = "cpu",
    renderer: Renderer = render,
    draw: Draw = draw_scenes,
    shard_size: int = SHARD_SIZE,
) -> int:
    """Render the shards of these numbers that are not there yet; returns how many were made.

    A shard's scenes depend on the seed and its number alone.
    """
    done = set(numbers_of(data, "pictures"))
    missing = [number for number in numbers if number not in done]
    for first in range(0, len(missing), SHARDS_AT_ONCE):
        group = missing[first : first + SHARDS_AT_ONCE]
        scenes = [scene for number in group for scene in draw(seed, number, shard_size)]
        pictures = renderer(scenes, size, device)
        for place, number in enumerate(group):
            rows = slice(place * shard_size, (place + 1) * shard_size)
            tensors = {
                "images": pictures.images[rows].cpu().contiguous(),
                "masks": pictures.masks[rows].cpu().to(torch.uint8).contiguous(),
            }
            shard = Shard(tensors, scenes[rows], {WORLD: world_version()})
            write_shard(path_of(data, "pictures", number), shard)
            LOG.info("%s", path_of(data, "pictures", number).name)
    return len(missing)


@cache
def world_version() -> str:
    """Twelve digits that change whenever the code of the world does."""
    digest = hashlib.blake2b(digest_size=6)
    files = (f for f in Path(next(iter(world.__path__))).rglob("*") if f.suffix in {".py", ".json"})
    for file in sorted(files):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
