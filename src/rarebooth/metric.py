"""The contract of a metric: evidence in, scores out.

A metric scores what a subject's model drew; it draws nothing and opens no network of its own. What
a metric needs and evidence lacks, such as two pictures of a prompt, gives no score.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import numpy as np
from torch import Tensor

from rarebooth.photos import Pixels
from rarebooth.world.subjects import Individual


class PictureJudge(Protocol):
    """A network that pictures are compared by."""

    @property
    def name(self) -> str:
        """Which network: its Hub id, or "embedded/dino" for one that comes with rarebooth."""
        ...

    @property
    def fed(self) -> str:
        """What it is fed and read at, in words."""
        ...

    def images(self, pictures: Pixels) -> Tensor:
        """L2-normalised features, float32 [N, D], of pictures uint8 [N, S, S, 3]."""
        ...


class TextJudge(PictureJudge, Protocol):
    """A network that pictures are compared by, with one another and with texts."""

    def texts(self, texts: list[str]) -> Tensor:
        """L2-normalised features, float32 [N, D]."""
        ...


class Distance(Protocol):
    """A perceptual distance of pictures that stand at the same place in two stacks."""

    @property
    def name(self) -> str:
        """Which distance, as "lpips alex"."""
        ...

    def between(self, one: Pixels, other: Pixels) -> Tensor:
        """Distances, float32 [N], of pictures uint8 [N, S, S, 3], pair by pair."""
        ...


class Reader(Protocol):
    """Reads the miniature's pictures: class, context, colour, property and accessory."""

    @property
    def name(self) -> str:
        """Which reader."""
        ...

    def read(self, pictures: Pixels) -> Mapping[str, list[str]]:
        """The answers to each question about pictures uint8 [N, S, S, 3], N of them."""
        ...


@dataclass(frozen=True)
class Judges:
    """Who looks at pictures. ``lpips`` is None where it is not installed, ``reader`` off the world.

    ``clip`` and ``dino`` remember what they have seen: that a photo is compared a hundred times
    costs one look.
    """

    clip: TextJudge
    dino: PictureJudge
    lpips: Distance | None = None
    reader: Reader | None = None


@dataclass(frozen=True)
class PictureSet:
    """Pictures of some prompts, as many of each.

    ``templates``: P prompts in which ``{}`` stands for what was named. ``images``: uint8
    [P, N, S, S, 3]; picture n of every prompt was drawn from the set's n-th seed.
    """

    templates: tuple[str, ...]
    images: Pixels

    @property
    def flat(self) -> Pixels:
        """All pictures, uint8 [P * N, S, S, 3], prompt by prompt."""
        return self.images.reshape(-1, *self.images.shape[2:])

    def asking(self, noun: str) -> list[str]:
        """The prompts with the plain class noun for the subject: no learnt word is in them."""
        return [template.replace("{}", noun) for template in self.templates]


@dataclass(frozen=True)
class Evidence:
    """All that a metric may look at of one subject at one checkpoint.

    ``photos``: uint8 [R, S, S, 3], what likeness is measured against. ``subject``: pictures of the
    subject by protocol ("diverse", "simple", "validation"). ``others``: pictures that do not name
    it, by the tuned model, and ``untouched`` the same prompts and seeds by the base ("class",
    "unrelated").
    ``individual``: who the subject is, where its photos are the miniature's own. ``learnt``: uint8
    [T, S, S, 3], the photos that were learnt from; None where they are ``photos``.
    """

    noun: str
    photos: Pixels
    subject: Mapping[str, PictureSet]
    others: Mapping[str, PictureSet]
    untouched: Mapping[str, PictureSet]
    judges: Judges
    individual: Individual | None = None
    learnt: Pixels | None = None


@dataclass(frozen=True)
class Score:
    """One number of a metric, and what it is the mean of, where it is one.

    ``prompts``: by template. ``pictures``: float [P, N].
    """

    value: float
    prompts: Mapping[str, float] = field(default_factory=dict[str, float])
    pictures: np.ndarray | None = None

    @staticmethod
    def of(templates: tuple[str, ...], pictures: np.ndarray) -> "Score":
        """Pictures [P, N] averaged to prompts, and these to the subject's value."""
        means = pictures.mean(axis=1)
        prompts = {template: float(mean) for template, mean in zip(templates, means, strict=True)}
        return Score(float(means.mean()), prompts, pictures)


class Metric(ABC):
    """A way to score evidence.

    ``name``: as in tables. ``meaning``: one line. ``better``: which way is better; None where
    neither is. ``source``: the paper that defines it.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]
    better: ClassVar[Literal["higher", "lower"] | None]
    source: ClassVar[str]

    @abstractmethod
    def score(self, evidence: Evidence) -> dict[str, Score]:
        """Scores by what they are of ("diverse", "class"); without what it needs, none."""

    @abstractmethod
    def convention(self, judges: Judges) -> str:
        """What the numbers rest on: the network and what it is fed, as tables must name it."""
