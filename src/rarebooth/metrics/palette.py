"""How much of a miniature subject's colours a picture shows where the toy should stand.

The world can render the true subject in the prompted scene, so a picture is placed between a floor,
other individuals of the class, and a ceiling, the same individual photographed again. What is
compared are the colours of the pixels that belong to the toy in most of the true renders; a picture
needs no mask of its own, and all three are measured alike.
"""

from dataclasses import dataclass

import numpy as np

from rarebooth.world.places import PLACES, load_place
from rarebooth.world.render import render
from rarebooth.world.scene import Scene
from rarebooth.world.subjects import Individual

LEVELS = 4
"""Colours a channel: 64 in all. A pixel is shared among the eight nearest (trilinearly).

With hard bins, light that moves a colour across an edge costs as much as another colour.
"""

RENDERS = 16
"""True renders, and renders of other individuals, for each scene."""

TRUTH_SHOTS = 5_000_000
"""Shots from here on are for measuring; photos of a subject use others."""

PLAIN = "studio"
"""Where a toy stands when a prompt names no place."""

OTHERS_FROM = 3_000_000
"""Other individuals of the class are numbered from here on."""


@dataclass(frozen=True)
class Truth:
    """What the subject truly looks like in one place.

    ``histogram``: [LEVELS ** 3], sums to 1. ``toy``: bool [H, W], the pixels that belong to the toy
    in most true renders. ``ceiling``, ``floor``: mean overlap of true renders and of other
    individuals.
    """

    histogram: np.ndarray
    toy: np.ndarray
    ceiling: float
    floor: float

    def overlap(self, picture: np.ndarray) -> float:
        """Histogram intersection of a picture, uint8 [H, W, 3], with the truth: 0 to 1."""
        return float(np.minimum(_histogram(picture, self.toy), self.histogram).sum())

    def placed(self, overlap: float) -> float:
        """Where an overlap lies between the floor (0) and the ceiling (1)."""
        return (overlap - self.floor) / (self.ceiling - self.floor)


def place_of(prompt: str) -> str:
    """The world's name of the place that a prompt ends with; "studio" where it names none."""
    phrases = {name: load_place(name).phrases[0] for name in PLACES}
    return next(
        (name for name, words in phrases.items() if words and prompt.endswith(words)), PLAIN
    )


def truth(individual: Individual, place: str, size: int) -> Truth:
    """Render what a subject and other individuals of its class look like in a place."""
    noun, instance = individual.toy, individual.instance
    shots = range(TRUTH_SHOTS, TRUTH_SHOTS + RENDERS)
    own = render([Scene(noun, instance, place, shot) for shot in shots], size=size)
    others = render(
        [Scene(noun, OTHERS_FROM + index, place, shot) for index, shot in enumerate(shots)],
        size=size,
    )
    toy = own.masks.float().mean(dim=0).numpy() > 0.5
    seen = np.stack([_histogram(picture, toy) for picture in own.images.numpy()])
    strangers = np.stack([_histogram(picture, toy) for picture in others.images.numpy()])
    mean = seen.mean(axis=0)
    # A render is compared with the mean of the others, so that it is not compared with itself.
    without = (seen.sum(axis=0) - seen) / (len(seen) - 1)
    return Truth(
        histogram=mean,
        toy=toy,
        ceiling=float(np.minimum(seen, without).sum(axis=1).mean()),
        floor=float(np.minimum(strangers, mean).sum(axis=1).mean()),
    )


def _histogram(picture: np.ndarray, toy: np.ndarray) -> np.ndarray:
    level = picture[toy] / 255 * (LEVELS - 1)
    below = np.minimum(level.astype(np.int64), LEVELS - 2)
    share = level - below
    counts = np.zeros((LEVELS, LEVELS, LEVELS))
    for corner in np.ndindex(2, 2, 2):
        red, green, blue = (below + corner).T
        weight = np.where(corner, share, 1 - share).prod(axis=1)
        np.add.at(counts, (red, green, blue), weight)
    return counts.ravel() / len(level)
