"""What a page shows of a run, as plain data: nothing here reads a file or runs a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rarebooth import scores
from rarebooth.metric import PictureSet
from rarebooth.photos import Pixels

BASE: Final = "base"
"""The name, among the checkpoints that pictures are of, of the model before training."""


@dataclass(frozen=True)
class Nearest:
    """A picture beside the photo that it is nearest to.

    Both uint8 [S, S, 3]. ``similarity``: their DINO cosine. ``above``: whether it is larger than
    that of any two photos.
    """

    picture: Pixels
    photo: Pixels
    similarity: float
    above: bool


@dataclass(frozen=True)
class RunView:
    """One run; whatever is empty or missing is left out of the page.

    ``name``: that of its folder, without the path. ``record``: ``run.json``. ``scores``:
    ``scores.json``. ``losses``: the lines of ``steps.jsonl``. ``photos``: uint8 [R, S, S, 3].
    ``pictures``: by checkpoint and by the name of their set; "base" holds what the untouched base
    draws of the same prompts, with the plain class noun.
    """

    name: str
    record: Mapping[str, Any]
    scores: Mapping[str, Any]
    losses: Sequence[Mapping[str, Any]]
    photos: Pixels
    pictures: Mapping[str, Mapping[str, PictureSet]]
    nearest: Sequence[Nearest] = ()

    @property
    def checkpoints(self) -> list[str]:
        """Names of all that is scored or drawn, in the order of training: ends of stages first."""
        names = {**self.scores.get("checkpoints", {}), **self.pictures}
        names.pop(BASE, None)
        return sorted(names, key=lambda name: int(name) if name.isdecimal() else -1)

    @property
    def recommended(self) -> str | None:
        """The recommended checkpoint, scored or not."""
        return self.scores.get("recommended") or self.record.get("recommended")

    @property
    def shown(self) -> str | None:
        """The checkpoint that stands for the run: the recommended one, if it is there."""
        if self.recommended in self.checkpoints:
            return self.recommended
        return self.checkpoints[-1] if self.checkpoints else None

    @property
    def noun(self) -> str:
        """The class noun."""
        settings = self.record.get("settings", {})
        return self.scores.get("noun") or settings.get("noun") or "subject"

    @property
    def learning(self) -> float | None:
        """Seconds of what was learnt, without what was drawn to look at or to choose by."""
        stages = {line["stage"] for line in self.losses} | {"preparation"}
        spent = [value for name, value in self.record.get("seconds", {}).items() if name in stages]
        return sum(spent) if spent else None

    def about(self, checkpoint: str | None) -> Mapping[str, Any]:
        """What ``scores.json`` says of a checkpoint."""
        return self.scores.get("checkpoints", {}).get(checkpoint, {})

    def value(self, checkpoint: str | None, metric: str, of: str) -> float | None:
        """A score, or None."""
        return scores.value(self.about(checkpoint).get("scores", {}), metric, of)

    def prompts(self, checkpoint: str | None, metric: str, of: str) -> Mapping[str, float | None]:
        """A score by prompt, or nothing."""
        found = self.about(checkpoint).get("scores", {}).get(metric, {}).get(of, {})
        return found.get("prompts", {})

    def drawn(self, checkpoint: str, name: str) -> dict[str, Pixels]:
        """Pictures [N, S, S, 3] of a checkpoint by their template."""
        found = self.pictures.get(checkpoint, {}).get(name)
        if found is None:
            return {}
        return dict(zip(found.templates, np.asarray(found.images), strict=True))
