"""Settings that methods which tune a base's weights share, and what they do."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from rarebooth.adapters import Shape, adapt, adapter_size
from rarebooth.base import Base, Batch, Session
from rarebooth.delta import Change, LowRank
from rarebooth.errors import SettingsError
from rarebooth.lesson import Shelf
from rarebooth.method import Method, setting
from rarebooth.run import Recipe, Run, generator_for

_DIFFUSERS = "diffusers DreamBooth default"
_LORA = "diffusers train_dreambooth_lora.py"


@dataclass(frozen=True)
class Tuned:
    """Weights that can be trained, and what has become of them."""

    weights: Mapping[str, Tensor]
    change: Callable[[], dict[str, Change | LowRank]]


def whole(session: Session, parts: Iterable[str]) -> Tuned:
    """All weights of some parts of the base."""
    weights: dict[str, Tensor] = {}
    for part in sorted(parts):
        weights |= session.tune(part)
    return Tuned(weights, lambda: session.change(weights))


def low_rank(session: Session, parts: Iterable[str], shape: Shape, seed: int) -> Tuned:
    """Adapters on some parts of the base; ``seed`` is what their first values follow from."""
    adapted = [
        adapt(session, part, shape, generator_for(seed, "adapters", part)) for part in sorted(parts)
    ]
    weights = {name: weight for each in adapted for name, weight in each.weights.items()}
    return Tuned(
        weights, lambda: {name: low for each in adapted for name, low in each.change().items()}
    )


def told(session: Session, prompts: Sequence[str], *, learning: bool) -> Callable[[], Tensor]:
    """The encoded prompts [P, L, D]: once for all, or anew each time where the encoder learns."""
    if learning:
        return lambda: session.condition(prompts)
    with torch.no_grad():
        once = session.condition(prompts)
    session.release()
    return lambda: once


@dataclass(frozen=True, kw_only=True)
class WeightTraining(Method):
    """Tunes weights, in its last stage."""

    batch: int = setting(1, "Photos a step.", source="diffusers DreamBooth recipe", least=1)
    accumulate: int = setting(1, "Batches added up before an update.", source=_DIFFUSERS, least=1)
    weight_decay: float = setting(
        1e-2, "Weight decay of what is tuned.", source=_DIFFUSERS, least=0
    )
    clip: float = setting(1.0, "Largest gradient norm.", source=_DIFFUSERS, above=0)

    def recipe(self, lr: float, steps: int, **more: Any) -> Recipe:  # noqa: ANN401  Recipe's own
        """How the weights are optimised."""
        return Recipe(
            lr=lr,
            steps=steps,
            weight_decay=self.weight_decay,
            clip=self.clip,
            accumulate=self.accumulate,
            **more,
        )


@dataclass(frozen=True, kw_only=True)
class Constrained(WeightTraining):
    """Can hold weights near the base's (Zhao et al. 2023, arXiv 2303.10137)."""

    constraint: Literal["none", "l1", "l2"] = setting(
        "none",
        "Adds the distance of the weights from the base's to the loss: l1 or l2 squared.",
        source="the method's paper has none",
    )
    constraint_weight: float = setting(
        1e-7,
        "What the distance counts.",
        source="Zhao et al. 2023, its code: 1e-7 for l1",
        above=0,
        where={"constraint": "l1"},
    )

    def held(
        self, session: Session, weights: Mapping[str, Tensor], loss: Callable[[Batch], Tensor]
    ) -> Callable[[Batch], Tensor]:
        """The loss with the distance of ``weights`` from the base's own added."""
        if self.constraint == "none":
            return loss
        home = session.originals(weights)

        def distance() -> Tensor:
            apart = (weights[name] - home[name] for name in home)
            each = (d.abs().sum() if self.constraint == "l1" else d.square().sum() for d in apart)
            return sum(each, next(iter(home.values())).new_zeros(()))

        return lambda batch: loss(batch) + self.constraint_weight * distance()


@dataclass(frozen=True, kw_only=True)
class Adaptable(WeightTraining):
    """Tunes the U-Net, and the text encoder where asked: all weights, or adapters on attention."""

    train_text: bool = setting(
        False, "Tunes the text encoder too.", source="diffusers DreamBooth default"
    )
    rank: int = setting(
        0, "Rank of adapters; 0 tunes all weights.", source="the method's paper tunes all", least=0
    )
    alpha: float = setting(
        4.0, "Scale of the adapters, times rank.", source=_LORA, above=0, where={"rank": 4}
    )
    dora: bool = setting(
        False,
        "Adapters learn the norms of rows apart.",
        source="Liu et al. 2024, DoRA; off in diffusers",
        where={"rank": 4},
    )

    @property
    def trains(self) -> frozenset[str]:
        """What it changes, with the text encoder only where that is asked for."""
        return self.changes if self.train_text else self.changes - {"text"}

    @property
    def _parts(self) -> frozenset[str]:
        return self.trains - {"token", "steer"}

    @property
    def _shape(self) -> Shape:
        return Shape(rank=self.rank, alpha=self.alpha, dora=self.dora)

    def trained(self, base: Base) -> int:
        """How many numbers are tuned."""
        if not self.rank:
            return super().trained(base)
        return sum(adapter_size(base, part, self._shape) for part in self._parts)

    def tuned(self, session: Session, run: Run) -> Tuned:
        """Make what is to be tuned trainable."""
        if not self.rank:
            return whole(session, self._parts)
        return low_rank(session, self._parts, self._shape, run.seed)


@dataclass(frozen=True, kw_only=True)
class Tunable(Adaptable, Constrained):
    """Tunes all weights, perhaps held near the base's, or adapters."""

    def check(self) -> None:
        """As every method; and a constraint holds whole weights, of which adapters have none."""
        super().check()
        if self.rank and self.constraint != "none":
            raise SettingsError(
                f"constraint is {self.constraint!r} and rank is {self.rank}; a constraint holds "
                "whole weights, which adapters leave as they are. Leave one out."
            )


@dataclass(frozen=True, kw_only=True)
class PriorPreserving(WeightTraining):
    """Can train on class images of the untouched base beside the photos (Ruiz et al. 2023, 3.3)."""

    prior: bool = setting(
        True, "Trains on class images too.", source="Ruiz et al. 2023, section 3.3"
    )
    prior_weight: float = setting(
        1.0,
        "What the error on class images counts.",
        source="Ruiz et al. 2023, section 3.3",
        above=0,
        where={"prior": True},
    )
    class_images: int = setting(
        200,
        "How many class images there are.",
        source="diffusers DreamBooth README",
        least=1,
        where={"prior": True},
    )
    class_prompt: str = setting(
        "a photo of {}",
        "What class images are drawn from and trained with; {} is the class noun.",
        source="diffusers DreamBooth README",
        where={"prior": True},
    )

    def class_shelves(
        self, session: Session, run: Run, nouns: Iterable[str], first: int
    ) -> list[Shelf]:
        """The class images of each noun, told by the prompts from number ``first`` on.

        None of them without prior. To be asked for before anything is tuned.
        """
        if not self.prior:
            return []
        shelves: list[Shelf] = []
        for number, prompt in enumerate(self.class_prompts(nouns), first):
            images = run.class_images(session, prompt, self.class_images)
            shelves.append(Shelf.told_by(number, session.base.posterior(images)))
        return shelves

    def class_prompts(self, nouns: Iterable[str]) -> list[str]:
        """What the class images of each noun are told by."""
        return [self.class_prompt.replace("{}", noun) for noun in nouns]
