"""How much of a miniature subject's colours a picture shows where the toy should stand.

The world can render the true subject in the prompted scene, so a picture is placed between a floor,
other individuals of the class, and a ceiling, the same individual photographed again. What is
compared are the colours of the pixels that belong to the toy in most of the true renders; a picture
needs no mask of its own, and all three are measured alike.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rarebooth.metrics.asked import Asked
from rarebooth.metrics.placement import Shown, place, stranger_renders, true_renders
from rarebooth.world.subjects import Individual

LEVELS = 4
"""Colours a channel: 64 in all. A pixel is shared among the eight nearest (trilinearly).

With hard bins, light that moves a colour across an edge costs as much as another colour.
"""

SCENES = 32
"""Scenes that are kept: those of one subject, whose checkpoints are all compared with them."""


@dataclass(frozen=True)
class Truth:
    """What the subject truly looks like in one scene.

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
        return place(overlap, self.floor, self.ceiling)


@lru_cache(SCENES)
def renders(individual: Individual, asked: Asked, size: int) -> tuple[Shown, Shown]:
    """A subject, and other individuals of its class, in a scene; the latest scenes are kept."""
    own = true_renders(individual, asked, size)
    return own, stranger_renders(individual, asked, size)


@lru_cache(SCENES)
def truth(individual: Individual, asked: Asked, size: int) -> Truth:
    """What a subject and other individuals of its class look like in a scene."""
    own, others = renders(individual, asked, size)
    toy = own.masks.mean(axis=0) > 0.5
    seen = np.stack([_histogram(picture, toy) for picture in own.images])
    strangers = np.stack([_histogram(picture, toy) for picture in others.images])
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
