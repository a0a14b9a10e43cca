"""Two-stage personalization: a coarse adjective first, then the U-Net, and no prior preservation.

Zeng, Suganuma and Okatani, "An Improved Method for Personalizing Diffusion Models"
(arXiv 2407.05312), section 3.2. What its claims rest on can be taken away or put back by settings.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from rarebooth.adapters import Shape, adapter_size
from rarebooth.base import Base, Batch, Session, denoising_loss
from rarebooth.delta import Delta
from rarebooth.errors import SettingsError
from rarebooth.lesson import Lesson
from rarebooth.method import one_subject, setting
from rarebooth.run import Recipe, Run, Step, draw_batch
from rarebooth.subject import Subject
from rarebooth.weight_training import Constrained, PriorPreserving, low_rank, told, whole

_PAPER = "paper, section 3.2"
_ABLATION = "not in the paper, which has none; for comparison"


@dataclass(frozen=True, kw_only=True)
class TwoStage(PriorPreserving, Constrained):
    """Learn an adjective in about 100 steps, freeze it, then fine-tune all U-Net weights."""

    name = "two-stage"
    paper = "Zeng, Suganuma, Okatani: An Improved Method for Personalizing Diffusion Models (2024)"
    summary = "a learnt adjective, then the whole U-Net; no prior-preservation images"
    changes = frozenset({"token", "denoiser", "text"})
    stages = ("token", "denoiser")

    token: str = setting("(rare)", "The new adjective.", source=_PAPER)
    initial_word: str = setting(
        "rare", "The word whose embedding the adjective starts from.", source=_PAPER
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
    train_text: bool = setting(
        False, "Tunes the text encoder in stage two.", source=f"{_PAPER}, which freezes it"
    )
    rank: int = setting(0, "Rank of adapters in stage two; 0: all weights.", source=_PAPER, least=0)
    alpha: float = setting(
        4.0,
        "Scale of the adapters, times rank.",
        source="diffusers train_dreambooth_lora.py",
        above=0,
        where={"rank": 4},
    )

    @property
    def trains(self) -> frozenset[str]:
        """The adjective and the U-Net, and the text encoder where that is asked for."""
        return self.changes - (frozenset() if self.train_text else {"text"})

    @property
    def tuned_parts(self) -> frozenset[str]:
        """What stage two tunes."""
        return self.trains - {"token"}

    def phrases(self, nouns: Sequence[str]) -> tuple[str, ...]:
        """The adjective before the noun, or in its place."""
        return super().phrases(nouns) if self.form == "adjective" else (self.token,) * len(nouns)

    @property
    def shape(self) -> Shape:
        """How large adapters are, where there are any."""
        return Shape(rank=self.rank, alpha=self.alpha)

    def trained(self, base: Base) -> int:
        """How many numbers stage two trains."""
        if not self.rank:
            return super().trained(base)
        return sum(adapter_size(base, part, self.shape) for part in self.tuned_parts)

    def check(self) -> None:
        """As every method; and a constraint holds whole weights, of which adapters have none."""
        super().check()
        if self.rank and self.constraint != "none":
            raise SettingsError(
                f"constraint is {self.constraint!r} and rank is {self.rank}; a constraint holds "
                "whole weights, which adapters leave as they are. Leave one out."
            )

    def fit(
        self, session: Session, subjects: Sequence[Subject], run: Run
    ) -> Generator[Step, None, Delta]:
        """Learn one subject. Stage names: "token", "denoiser"."""
        subject = one_subject(self.name, subjects)
        base = session.base
        (phrase,) = self.phrases([subject.noun])
        prompt = self.prompt.replace("{}", phrase)
        prior = self.class_posterior(session, run, subject.noun)
        photos = base.posterior(subject.images)
        adjective = session.token(self.token, self.initial_word)

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
        parts = self.tuned_parts
        tuned = (
            low_rank(session, parts, self.shape, run.seed) if self.rank else whole(session, parts)
        )
        said = told(
            session,
            (prompt, self.class_prompt.replace("{}", subject.noun)),
            learning=self.train_text,
        )
        lesson = Lesson.of(base, photos, prior, self.prior_weight)
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
