"""Photographs of the miniature world: sphere tracing in batched tensor operations.

Distances are followed as in Hart, "Sphere tracing", The Visual Computer 12 (1996). Toys are traced
class by class and surroundings painted place by place, so that mixed scenes share large batches.
"""

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from rarebooth.prompts import CUBE, QUALITIES
from rarebooth.world.outfits import dressed
from rarebooth.world.places import load_place
from rarebooth.world.scene import Scene
from rarebooth.world.shot import Finish, View, draw_shot
from rarebooth.world.surroundings import paint_surroundings
from rarebooth.world.toy_light import Look, Traced, trace_toys

_LOOKS: dict[str | None, Look] = {"shiny": "shiny", "wet": "wet", CUBE: "cube"}

_AT_ONCE = {"cpu": 2**18, "cuda": 2**22}
"""Rays per batch: what the caches of one core, or a GPU's memory, hold well."""

_IN_FLIGHT = {"cpu": 2**22, "cuda": 2**25}
"""Rays whose colours are kept between the two passes."""

K = TypeVar("K", bound=Hashable)


class Pictures(NamedTuple):
    """Rendered scenes: ``images`` uint8 [N, size, size, 3], ``masks`` bool [N, size, size]."""

    images: Tensor
    masks: Tensor


@torch.no_grad()
def render(scenes: Sequence[Scene], size: int = 64, device: torch.device | str = "cpu") -> Pictures:
    """Photograph scenes, in the order given; a picture depends on its own scene alone.

    Args:
        scenes: what to photograph; hundreds at a time are fastest.
        size: edge of the pictures in pixels, even.
        device: where to compute; the pictures stay there.

    Returns:
        Pictures, and where they show the toy.

    Raises:
        KeyError: a toy or place that does not exist.
        ValueError: an odd size, an unknown quality or outfit, or a toy that wears none.
    """
    if size % 2:
        raise ValueError(f"size is {size}, but must be even")
    for scene in scenes:
        if scene.quality is not None and scene.quality not in QUALITIES:
            raise ValueError(f"quality {scene.quality!r} is none of {', '.join(QUALITIES)}")
    device = torch.device(device)
    # Traced at 1.5 times the size and averaged down.
    side = size * 3 // 2
    at_once = max(1, _IN_FLIGHT.get(device.type, _IN_FLIGHT["cpu"]) // (side * side))
    parts = [
        _render(scenes[first : first + at_once], side, device)
        for first in range(0, len(scenes), at_once)
    ]
    if not parts:
        parts = [
            Pictures(
                torch.zeros(0, size, size, 3, dtype=torch.uint8, device=device),
                torch.zeros(0, size, size, dtype=torch.bool, device=device),
            )
        ]
    return Pictures(torch.cat([p.images for p in parts]), torch.cat([p.masks for p in parts]))


def _render(scenes: Sequence[Scene], side: int, device: torch.device) -> Pictures:
    toys = [dressed(scene.toy, scene.outfit) for scene in scenes]
    rows = [draw_shot(s, toy, load_place(s.place)) for s, toy in zip(scenes, toys, strict=True)]
    looks: list[Look] = [_LOOKS.get(scene.quality, "plain") for scene in scenes]
    rays = side * side
    shape = (len(scenes), rays)
    colour, daylight = torch.empty(2, 3, *shape, device=device)
    hit, mirrored = torch.empty(2, *shape, dtype=torch.bool, device=device)
    gap = torch.empty(shape, device=device)
    limit = max(1, _AT_ONCE.get(device.type, _AT_ONCE["cpu"]) // rays)

    by_toy: list[tuple[str, str | None, Look]] = [
        (scene.toy, scene.outfit, look) for scene, look in zip(scenes, looks, strict=True)
    ]
    for (_, _, look), numbers in _groups(by_toy, limit):
        some, toy = [rows[n] for n in numbers], toys[numbers[0]]
        view, finish = View.of(some, device), Finish.of(some, toy, device)
        traced = trace_toys(view, finish, toy, look, side)
        index = torch.tensor(numbers, device=device)
        shape = (len(numbers), rays)
        colour[:, index] = traced.colour.view(3, *shape)
        daylight[:, index] = traced.daylight.view(3, *shape)
        hit[index] = traced.hit.view(shape)
        mirrored[index] = traced.mirrored.view(shape)
        gap[index] = traced.gap.view(shape)

    by_place = [(scene.place, look == "wet") for scene, look in zip(scenes, looks, strict=True)]
    for (place, wet), numbers in _groups(by_place, limit):
        index = torch.tensor(numbers, device=device)
        view = View.of([rows[n] for n in numbers], device)
        traced = Traced(
            colour=colour[:, index].view(3, -1),
            daylight=daylight[:, index].view(3, -1),
            hit=hit[index].view(-1),
            mirrored=mirrored[index].view(-1),
            gap=gap[index].view(-1),
        )
        painted = paint_surroundings(view, load_place(place), wet, side, traced)
        colour[:, index] = painted.view(3, len(numbers), rays)

    shown = _shrink(colour.clamp_(0.0, 1.0).sqrt_().view(3, -1, side, side))
    images = shown.mul(255.0).round().to(torch.uint8).permute(1, 2, 3, 0).contiguous()
    return Pictures(images, _shrink(hit.view(1, -1, side, side).to(colour.dtype))[0] > 0.5)


def _groups(keys: Sequence[K], limit: int) -> Iterator[tuple[K, list[int]]]:
    """Positions of equal keys, at most ``limit`` at a time."""
    groups: dict[K, list[int]] = {}
    for number, key in enumerate(keys):
        groups.setdefault(key, []).append(number)
    for key, numbers in groups.items():
        for first in range(0, len(numbers), limit):
            yield key, numbers[first : first + limit]


def _shrink(field: Tensor) -> Tensor:
    """Average [C, B, S, S] down to two thirds of its edge: a lens's blur, then areas of 1.5 pixels.

    Areas alone leave the jagged edges of one ray a pixel in the picture.
    """
    for dim in (2, 3):
        size = field.shape[dim]
        first, last = field.narrow(dim, 0, 1), field.narrow(dim, size - 1, 1)
        before = torch.cat([first, field.narrow(dim, 0, size - 1)], dim)
        after = torch.cat([field.narrow(dim, 1, size - 1), last], dim)
        field = (before + 2 * field + after) * 0.25
        a, b, c = field.unflatten(dim, (-1, 3)).unbind(dim + 1)
        field = torch.stack([(2 * a + b) / 3, (b + 2 * c) / 3], dim + 1).flatten(dim, dim + 1)
    return field
