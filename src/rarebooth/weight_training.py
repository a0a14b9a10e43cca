"""Settings that methods which tune a base's weights share, and what they do."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from rarebooth.adapters import Shape, adapt
from rarebooth.base import Batch, Posterior, Session
from rarebooth.delta import Change, LowRank
from rarebooth.method import Method, setting
from rarebooth.run import Recipe, Run, generator_for

_DIFFUSERS = "diffusers DreamBooth default"


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

    def class_posterior(self, session: Session, run: Run, noun: str) -> Posterior | None:
        """The class images, encoded; None without prior. To be asked for before any training."""
        if not self.prior:
            return None
        prompt = self.class_prompt.replace("{}", noun)
        images = run.class_images(session, prompt, self.class_images)
        return session.base.posterior(images)
