"""Two-stage personalization: a coarse adjective first, then the U-Net, and no prior preservation.

Zeng, Suganuma and Okatani, "An Improved Method for Personalizing Diffusion Models"
(arXiv 2407.05312), section 3.2. What its claims rest on can be taken away or put back by settings.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rarebooth.base import Base, Batch, Session, denoising_loss
from rarebooth.delta import Delta
from rarebooth.lesson import Lesson, Shelf
from rarebooth.method import one_subject, setting
from rarebooth.run import Recipe, Run, Step, draw_batch, generator_for
from rarebooth.subject import Subject
from rarebooth.weight_training import PriorPreserving, Tunable, told

_PAPER = "paper, section 3.2"
_ABLATION = "not in the paper, which has none; for comparison"


@dataclass(frozen=True, kw_only=True)
class TwoStage(PriorPreserving, Tunable):
    """Learn an adjective in about 100 steps, freeze it, then fine-tune all U-Net weights."""

    name = "two-stage"
    paper = "Zeng, Suganuma, Okatani: An Improved Method for Personalizing Diffusion Models (2024)"
    summary = "a learnt adjective, then the whole U-Net; no prior-preservation images"
    changes = frozenset({"token", "denoiser", "text"})
    stages = ("token", "denoiser")

    token: str = setting("(rare)", "The new adjective.", source=_PAPER)
    initial_word: str = setting(
        "rare",
        "The word whose embedding the adjective starts from; empty: a random vector.",
        source=_PAPER,
    )
    form: Literal["adjective", "noun"] = setting(
        "adjective", "Whether the word stands before the class noun or for it.", source=_PAPER
    )
    prompt: str = setting(
        "a photo of {}", "The prompt of every photo, in both stages.", source=_PAPER
    )
    token_steps: int = setting(100, "Updates of the adjective (stage one).", source=_PAPER, least=0)
    token_lr: float = setting(
        5e-4,
        "Learning rate of the adjective.",
        source="paper, section 4.1; the exponent as in diffusers' textual-inversion recipe",
        above=0,
    )
    token_batch: int = setting(
        4, "Photos a step in stage one.", source="diffusers textual-inversion recipe", least=1
    )
    steps: int = setting(400, "Updates (stage two).", source=f"{_PAPER}: 200-400", least=1)
    lr: float = setting(
        5e-6, "Learning rate of stage two.", source="paper, section 4.1; Ruiz 2023, 3.3", above=0
    )
    prior: bool = setting(False, "Trains on class images too.", source=_ABLATION)

    def phrases(self, nouns: Sequence[str]) -> tuple[str, ...]:
        """The adjective before the noun, or in its place."""
        return super().phrases(nouns) if self.form == "adjective" else (self.token,) * len(nouns)

    def fit(
        self, session: Session, subjects: Sequence[Subject], run: Run
    ) -> Generator[Step, None, Delta]:
        """Learn one subject. Stage names: "token", "denoiser"."""
        subject = one_subject(self.name, subjects)
        base = session.base
        (phrase,) = self.phrases([subject.noun])
        prompt = self.prompt.replace("{}", phrase)
        classes = self.class_shelves(session, run, [subject.noun], first=1)
        photos = base.posterior(subject.images)
        adjective = session.token(self.token, self.initial_word or _random(base, run.seed))

        # Stage one: v* = argmin over v alone (eq. 3), on purpose coarse
        def token_loss(batch: Batch) -> Tensor:
            return denoising_loss(base, photos, batch, session.condition([prompt]))

        def learnt_adjective() -> Delta:
            return Delta((phrase,), {self.token: adjective.detach().cpu().clone()})

        yield from run.train(
            "token",
            {self.token: adjective},
            Recipe(lr=self.token_lr, steps=self.token_steps, weight_decay=0.0, clip=None),
            draw_batch(base, len(subject.photos), self.token_batch),
            token_loss,
            learnt_adjective,
        )

        # Stage two: the U-Net's weights (eq. 4), told by the word that is frozen now
        tuned = self.tuned(session, run)
        prompts = [prompt, *self.class_prompts([subject.noun])]
        said = told(session, prompts, learning=self.train_text)
        lesson = Lesson.of(base, [Shelf.told_by(0, photos)], classes, self.prior_weight)
        loss = self.held(session, tuned.weights, lambda batch: lesson.loss(batch, said()))

        def learnt() -> Delta:
            return Delta((phrase,), learnt_adjective().tokens, tuned.change())

        yield from run.train(
            "denoiser",
            tuned.weights,
            self.recipe(self.lr, self.steps),
            lesson.draw(self.batch * self.accumulate),
            loss,
            learnt,
        )
        return learnt()


def _random(base: Base, seed: int) -> Tensor:
    """A vector [1, D] that means nothing, its numbers as large as those of a word."""
    word = base.word("rare")
    drawn = torch.randn(word.shape, generator=generator_for(seed, "first vector"))
    return drawn.to(word) * word.std()
