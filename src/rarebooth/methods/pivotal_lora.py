"""Pivotal tuning with LoRA: a word is learnt first, then adapters around it.

Roich et al., "Pivotal Tuning for Latent-based Editing of Real Images" (2022), as cloneofsimo/lora
carries it over to Stable Diffusion (lora_diffusion/cli_lora_pti.py and its README). Its README's
command also goes on learning the word in stage two (--continue_inversion, off by default), uses
rank 1 and style templates, jitters colours and mirrors photos: none of it here.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rarebooth.adapters import Shape, adapter_size
from rarebooth.base import Base, Batch, Session, denoising_loss
from rarebooth.delta import Delta
from rarebooth.method import one_subject, setting
from rarebooth.prompts import TEMPLATES
from rarebooth.run import Recipe, Run, Step, draw_batch, generator_for
from rarebooth.subject import Subject
from rarebooth.weight_training import WeightTraining, low_rank

_CODE = "cloneofsimo/lora, cli_lora_pti.py"
_README = "cloneofsimo/lora README"

NORM = 0.4
"""Where the norms of the word's vectors are pulled to (clip_ti_decay in its code)."""


@dataclass(frozen=True, kw_only=True)
class PivotalLora(WeightTraining):
    """Learn a noun from noise, freeze it, then adapt U-Net and text encoder at low rank."""

    name = "pivotal-lora"
    paper = "Roich et al.: Pivotal Tuning (2022); Hu et al.: LoRA (ICLR 2022); cloneofsimo/lora"
    summary = "a learnt noun, then low-rank adapters on U-Net and text encoder"
    changes = frozenset({"token", "denoiser", "text"})
    stages = ("token", "adapters")

    token: str = setting("<s1>", "The new noun.", source=_README)
    initial_word: str = setting(
        "", "The word that the vectors start from; by default noise.", source=_CODE
    )
    initial_norm: float = setting(
        0.017,
        "Deviation of the noise that the vectors start from.",
        source=_CODE,
        above=0,
        where={"initial_word": ""},
    )
    vectors: int = setting(
        1, "Vectors of the noun.", source="ours: one; its README has two", least=1
    )
    token_steps: int = setting(
        250, "Updates of the noun.", source=f"{_README}: 1000 batches, 4 an update", least=1
    )
    token_lr: float = setting(
        2e-3, "Learning rate of the noun.", source=f"{_README}: 5e-4 times 4 batches", above=0
    )
    token_batch: int = setting(
        4, "Photos a step for the noun.", source=f"{_README}: 1 x 4", least=1
    )
    rank: int = setting(4, "Rank of the adapters.", source=_CODE, least=1)
    alpha: float = setting(4.0, "Scale of the adapters, times rank.", source=_CODE, above=0)
    dora: bool = setting(
        False, "Learns the norms of rows apart.", source="Liu et al. 2024, DoRA; not in the code"
    )
    steps: int = setting(1000, "Updates of the adapters.", source=_README, least=1)
    lr: float = setting(
        4e-4, "Learning rate of the U-Net's adapters.", source=f"{_README}: 1e-4 times 4", above=0
    )
    text_lr: float = setting(
        4e-5, "Learning rate of the text encoder's.", source=f"{_README}: 1e-5 times 4", above=0
    )
    batch: int = setting(
        1,
        "Photos a step for the adapters.",
        source=f"{_README}: 1; its code accumulates for the noun alone",
        least=1,
    )
    weight_decay: float = setting(1e-3, "Weight decay of the adapters.", source=_CODE, least=0)
    noised: float = setting(
        0.8,
        "The share of the timesteps that adapters see, from the clean end.",
        source=_CODE,
        above=0,
    )

    @property
    def shape(self) -> Shape:
        """How large the adapters are."""
        return Shape(rank=self.rank, alpha=self.alpha, dora=self.dora, gates=True)

    def trained(self, base: Base) -> int:
        """How many numbers the adapters have."""
        return sum(adapter_size(base, part, self.shape) for part in ("denoiser", "text"))

    def phrases(self, nouns: Sequence[str]) -> tuple[str, ...]:
        """The new noun, in the place of the class's."""
        return (self.token,) * len(nouns)

    def fit(
        self, session: Session, subjects: Sequence[Subject], run: Run
    ) -> Generator[Step, None, Delta]:
        """Learn one subject. Stage names: "token", "adapters"."""
        subject = one_subject(self.name, subjects)
        base = session.base
        photos = base.posterior(subject.images)
        width = base.word(subject.noun.split()[-1]).shape[1]
        rng = generator_for(run.seed, "noun")
        noise = self.initial_norm * torch.randn((self.vectors, width), generator=rng)
        start = base.word(self.initial_word).repeat(self.vectors, 1) if self.initial_word else noise
        noun = session.token(self.token, start)
        prompts = [template.replace("{}", self.token) for template in TEMPLATES["object"]]

        def loss(batch: Batch) -> Tensor:
            said = [prompts[number] for number in batch.prompt.tolist()]
            return denoising_loss(base, photos, batch, session.condition(said))

        def learnt_noun() -> Delta:
            return Delta(self.phrases([subject.noun]), {self.token: noun.detach().cpu().clone()})

        def pull() -> None:
            norm = noun.norm(dim=1, keepdim=True)
            noun.mul_((norm + min(1.0, 100 * self.token_lr) * (NORM - norm)) / norm)

        yield from run.train(
            "token",
            {self.token: noun},
            Recipe(
                lr=self.token_lr, steps=self.token_steps, weight_decay=0.0, clip=None, falling=True
            ),
            draw_batch(base, len(subject.photos), self.token_batch, prompts=len(prompts)),
            loss,
            learnt_noun,
            after=pull,
        )

        tuned = low_rank(session, ("denoiser", "text"), self.shape, run.seed)

        def learnt() -> Delta:
            return Delta(self.phrases([subject.noun]), learnt_noun().tokens, tuned.change())

        seen = max(1, round(min(1.0, self.noised) * base.process.timesteps))
        yield from run.train(
            "adapters",
            tuned.weights,
            self.recipe(self.lr, self.steps, falling=True, rates={"text": self.text_lr}),
            draw_batch(
                base,
                len(subject.photos),
                self.batch * self.accumulate,
                prompts=len(prompts),
                timesteps=seen,
            ),
            loss,
            learnt,
        )
        return learnt()
