"""Where a score lies between what strangers reach and what the subject itself reaches.

The miniature world can render the true subject in the scene that a prompt asks for. That gives any
score of likeness a ceiling, the same individual photographed again, and a floor, other individuals
of its class in the same scene.
"""

from dataclasses import dataclass

import numpy as np

from rarebooth.errors import RareboothError
from rarebooth.metrics.asked import Asked
from rarebooth.world.render import render
from rarebooth.world.scene import Scene
from rarebooth.world.subjects import Individual

RENDERS = 16
"""True renders, and renders of other individuals, for each scene."""

TRUTH_SHOTS = 5_000_000
"""Shots from here on are for measuring; photos of a subject use others."""

OTHERS_FROM = 3_000_000
"""Other individuals of the class are numbered from here on."""


@dataclass(frozen=True)
class Shown:
    """Rendered pictures.

    ``images``: uint8 [N, H, W, 3]. ``masks``: bool [N, H, W], where they show the toy.
    """

    images: np.ndarray
    masks: np.ndarray


def true_renders(
    individual: Individual, asked: Asked, size: int, count: int = RENDERS, first: int = TRUTH_SHOTS
) -> Shown:
    """The individual itself in the scene that was asked for: the ceiling of a score.

    Args:
        individual: whom to show.
        asked: in which scene.
        size: edge of the pictures in pixels, even.
        count: number of pictures.
        first: their shots are counted from here; equal shots give equal pictures.
    """
    return _shown([asked.scene(individual, first + index) for index in range(count)], size)


def stranger_renders(
    individual: Individual, asked: Asked, size: int, count: int = RENDERS, first: int = TRUTH_SHOTS
) -> Shown:
    """Other individuals of the class in the same scene, one a picture: the floor of a score.

    Args:
        individual: who is not shown.
        asked: in which scene.
        size: edge of the pictures in pixels, even.
        count: number of pictures.
        first: their shots are counted from here.
    """
    numbers = range(OTHERS_FROM, OTHERS_FROM + count + 1)
    others = [number for number in numbers if number != individual.instance][:count]
    return _shown(
        [
            asked.scene(Individual(individual.toy, number), first + index)
            for index, number in enumerate(others)
        ],
        size,
    )


def place(score: float, floor: float, ceiling: float) -> float:
    """Where a score lies on the way from the floor (0) to the ceiling (1); it may lie outside.

    Of a distance, the ceiling is the smaller one.

    Raises:
        RareboothError: floor and ceiling are equal, so that the score tells nobody apart.
    """
    if floor == ceiling:
        raise RareboothError(
            f"other individuals score {floor:.4g}, as much as the subject itself, so that no score "
            "can be placed between them. Measure with another scene or another metric."
        )
    return (score - floor) / (ceiling - floor)


def _shown(scenes: list[Scene], size: int) -> Shown:
    pictures = render(scenes, size=size)
    return Shown(pictures.images.numpy(), pictures.masks.numpy())
