"""Two-stage personalization: a coarse adjective first, then the U-Net, and no prior preservation.

Zeng, Suganuma and Okatani, "An Improved Method for Personalizing Diffusion Models"
(arXiv 2407.05312), section 3.2.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch

from rarebooth.base import Batch, Session, denoising_loss
from rarebooth.delta import Delta
from rarebooth.method import Method, one_subject, setting
from rarebooth.run import Recipe, Run, Step, draw_batch
from rarebooth.subject import Subject


@dataclass(frozen=True, kw_only=True)
class TwoStage(Method):
    """Learn an adjective in about 100 steps, freeze it, then fine-tune all U-Net weights."""

    name = "two-stage"
    paper = "Zeng, Suganuma, Okatani: An Improved Method for Personalizing Diffusion Models (2024)"
    summary = "a learnt adjective, then the whole U-Net; no prior-preservation images"
    changes = frozenset({"token", "denoiser"})
    stages = ("token", "denoiser")

    token: str = setting("(rare)", "The new adjective.", source="paper, section 3.2")
    initial_word: str = setting(
        "rare", "The word whose embedding the adjective starts from.", source="paper, section 3.2"
    )
    prompt: str = setting(
        "a photo of {}", "The prompt of every photo, in both stages.", source="paper, section 3.2"
    )
    token_steps: int = setting(
        100, "Updates of the adjective (stage one).", source="paper, section 3.2", least=0
    )
    token_lr: float = setting(
        5e-4,
        "Learning rate of the adjective.",
        source="paper, section 4.1; the exponent as in diffusers' textual-inversion recipe",
        above=0,
    )
    token_batch: int = setting(
        4,
        "Photos a step in stage one.",
        source="diffusers textual-inversion recipe, 1 x 4",
        least=1,
    )
    steps: int = setting(
        400, "Updates of the U-Net (stage two).", source="paper, section 3.2: 200-400", least=1
    )
    lr: float = setting(
        5e-6, "Learning rate of the U-Net.", source="paper, section 4.1; Ruiz 2023, 3.3", above=0
    )
    batch: int = setting(
        1, "Photos a step in stage two.", source="diffusers DreamBooth recipe", least=1
    )
    accumulate: int = setting(
        1, "Batches added up before an update.", source="diffusers DreamBooth default", least=1
    )
    weight_decay: float = setting(
        1e-2, "Weight decay of the U-Net.", source="diffusers DreamBooth default", least=0
    )
    clip: float = setting(
        1.0, "Largest gradient norm of the U-Net.", source="diffusers DreamBooth default", above=0
    )

    def fit(
        self, session: Session, subjects: Sequence[Subject], run: Run
    ) -> Generator[Step, None, Delta]:
        """Learn one subject. Stage names: "token", "denoiser"."""
        subject = one_subject(self.name, subjects)
        base = session.base
        phrase = f"{self.token} {subject.noun}"
        prompt = self.prompt.replace("{}", phrase)
        photos = base.posterior(subject.images)
        adjective = session.token(self.token, self.initial_word)

        def learnt_adjective() -> Delta:
            return Delta((phrase,), {self.token: adjective.detach().cpu().clone()})

        def token_loss(batch: Batch) -> torch.Tensor:
            return denoising_loss(base, photos, batch, session.condition([prompt]))

        yield from run.train(
            "token",
            {self.token: adjective},
            Recipe(
                lr=self.token_lr,
                steps=self.token_steps,
                weight_decay=0.0,
                clip=None,
            ),
            draw_batch(base, len(subject.photos), self.token_batch),
            token_loss,
            learnt_adjective,
        )

        with torch.no_grad():
            condition = session.condition([prompt])
        weights = session.tune("denoiser")

        def learnt() -> Delta:
            adjective_only = learnt_adjective()
            return Delta((phrase,), adjective_only.tokens, session.change(weights))

        def denoiser_loss(batch: Batch) -> torch.Tensor:
            return denoising_loss(base, photos, batch, condition)

        yield from run.train(
            "denoiser",
            weights,
            Recipe(
                lr=self.lr,
                steps=self.steps,
                weight_decay=self.weight_decay,
                clip=self.clip,
                accumulate=self.accumulate,
            ),
            draw_batch(base, len(subject.photos), self.batch * self.accumulate),
            denoiser_loss,
            learnt,
        )
        return learnt()
