"""Entanglement: whether the context changes the subject's colours."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from rarebooth.metric import Evidence, Judges, Metric, PictureSet, Score
from rarebooth.metrics.asked import PLAIN_PLACE, Asked, asked
from rarebooth.metrics.lab import lab
from rarebooth.metrics.palette import SCENES, renders
from rarebooth.photos import Pixels
from rarebooth.world.colours import PALETTE
from rarebooth.world.subjects import Individual
from rarebooth.world.traits import traits

LIGHT: Final = (0.4, 1.2)
"""How dark and how bright a part may look in a render, as a multiple of its paint."""

LEAST: Final = 0.02
"""Of the toy's pixels, what a part must cover to be measured."""


class Entanglement(Metric):
    """How much more wrong the colours of the subject's parts are in contexts than without one.

    A part is where true renders of the scene show one of the individual's colours, by majority; its
    error is the distance of its mean colour to the true one (CIE Lab, ΔE 1976). A single view in a
    single light is off as well: "diverse.ceiling" is the score of true renders, one by one.

    Neither way is better: what is below the ceiling is wrong without a context already. Read it
    beside the two errors.
    """

    name = "entanglement"
    meaning = "colour error of the subject's parts in contexts, less that with the simple prompt"
    better = None
    source = "rarebooth; a number for Zeng et al. 2024, section 4.3.1"

    def score(self, evidence: Evidence) -> dict[str, Score]:
        """The score by context, the two errors, and the ceiling; the miniature's alone."""
        individual, sets = evidence.individual, evidence.subject
        if individual is None or not {"diverse", "simple"} <= sets.keys():
            return {}
        contexts, simple = _in_places(sets["diverse"]), sets["simple"]
        if not contexts.templates:
            return {}
        here, there = _errors(individual, simple), _errors(individual, contexts)
        ceiling = _least(individual, contexts) - _least(individual, simple)
        return {
            "diverse": Score.of(contexts.templates, there - here.mean()),
            "diverse.error": Score.of(contexts.templates, there),
            "simple.error": Score.of(simple.templates, here),
            "diverse.ceiling": Score(ceiling),
        }

    def convention(self, judges: Judges) -> str:  # noqa: ARG002  no network looks
        """What is measured."""
        return "ΔE 1976 of parts' mean colours to true renders of the same scene"


@dataclass(frozen=True)
class Parts:
    """The parts that a scene shows of an individual.

    ``masks``: bool [K, H, W]. ``colours``: the mean of each in every true render, uint8's range,
    [N, K, 3].
    """

    masks: np.ndarray
    colours: np.ndarray

    def error(self, picture: Pixels) -> float:
        """The mean ΔE of a picture, uint8 [H, W, 3]."""
        return _apart(_means(picture, self.masks), self.colours.mean(axis=0))

    @property
    def least(self) -> float:
        """The mean error of a true render against all others."""
        others = (self.colours.sum(axis=0) - self.colours) / (len(self.colours) - 1)
        return _apart(self.colours, others)


@lru_cache(SCENES)
def parts(individual: Individual, scene: Asked, size: int) -> Parts:
    """Find an individual's parts in pictures of ``size`` pixels."""
    own, _ = renders(individual, scene, size)
    paints = _paints(individual)
    nearest = _nearest(own.images, paints)
    votes = np.stack([((nearest == n) & own.masks).sum(axis=0) for n in range(len(paints))])
    toy = own.masks.mean(axis=0) > 0.5
    masks = [toy & (votes.argmax(axis=0) == n) for n in range(len(paints))]
    kept = np.stack([mask for mask in masks if mask.sum() > LEAST * toy.sum()])
    return Parts(kept, np.stack([_means(picture, kept) for picture in own.images]))


def _in_places(pictures: PictureSet) -> PictureSet:
    """The pictures whose prompts ask for a place and nothing else."""
    scenes = [asked(template) for template in pictures.templates]
    rows = [n for n, s in enumerate(scenes) if s == Asked(s.place) and s.place != PLAIN_PLACE]
    return PictureSet(tuple(pictures.templates[row] for row in rows), pictures.images[rows])


def _errors(individual: Individual, pictures: PictureSet) -> np.ndarray:
    """Errors of pictures [P, N]."""
    known = _known(individual, pictures)
    rows = zip(known, pictures.images, strict=True)
    return np.array([[each.error(picture) for picture in row] for each, row in rows])


def _least(individual: Individual, pictures: PictureSet) -> float:
    """The mean error of true renders in the same scenes."""
    return float(np.mean([each.least for each in _known(individual, pictures)]))


def _known(individual: Individual, pictures: PictureSet) -> list[Parts]:
    size = pictures.images.shape[2]
    return [parts(individual, asked(template), size) for template in pictures.templates]


def _paints(individual: Individual) -> np.ndarray:
    """The colours of an individual's parts and pattern, uint8's range, [K, 3]."""
    known = traits(individual.toy, individual.instance)
    pattern = () if known.pattern == "none" else (known.pattern_colour,)
    names = dict.fromkeys((*known.colours, *pattern))
    return 255 * np.array([PALETTE[name] for name in names])


def _nearest(pictures: Pixels, paints: np.ndarray) -> np.ndarray:
    """The paint [..., H, W], in the light that suits it best, that is nearest to each pixel."""
    pixels = pictures[..., None, :].astype(np.float64)
    light = ((pixels * paints).sum(axis=-1) / (paints**2).sum(axis=-1)).clip(*LIGHT)
    return ((pixels - light[..., None] * paints) ** 2).sum(axis=-1).argmin(axis=-1)


def _means(picture: Pixels, masks: np.ndarray) -> np.ndarray:
    return np.stack([picture[mask].mean(axis=0) for mask in masks])


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """The mean ΔE of colours [..., 3]."""
    return float(np.linalg.norm(lab(one) - lab(other), axis=-1).mean())
