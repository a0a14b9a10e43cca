"""Textual Inversion: one new word for the subject, and nothing else is learnt.

Gal et al., "An Image is Worth One Word: Personalizing Text-to-Image Generation using Textual
Inversion" (ICLR 2023, arXiv 2208.01618), sections 3 and 5. The defaults are diffusers', for Stable
Diffusion; the paper's own run, on another model, is --steps 5000 --lr 4e-2 --batch 8. Unlike
diffusers' script it mirrors no photos and decays no weights.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from rarebooth.base import Batch, Session, denoising_loss
from rarebooth.delta import Delta
from rarebooth.method import Method, one_subject, setting
from rarebooth.prompts import TEMPLATES
from rarebooth.run import Recipe, Run, Step, draw_batch
from rarebooth.subject import Subject

_DIFFUSERS = "diffusers textual-inversion README"


@dataclass(frozen=True, kw_only=True)
class TextualInversion(Method):
    """Learn the embedding of a noun; the whole base stays as it is."""

    name = "textual-inversion"
    paper = (
        "Gal et al.: An Image is Worth One Word: Personalizing Text-to-Image Generation using "
        "Textual Inversion (ICLR 2023)"
    )
    summary = "a learnt noun, of one vector or several, and an untouched base"
    changes = frozenset({"token"})
    stages = ("token",)

    token: str = setting("<subject>", "The new noun.", source="diffusers: a word in angle brackets")
    initial_word: str = setting(
        "",
        "The word whose embedding each vector starts from; by default the class noun's last.",
        source="paper, section 3: a single word that describes the object coarsely",
    )
    vectors: int = setting(1, "Vectors of the noun.", source="paper, section 5.3", least=1)
    templates: Literal["object", "style"] = setting(
        "object", "What photos are told by: of an object, or in a style.", source="paper, app. D"
    )
    steps: int = setting(3000, "Updates.", source=_DIFFUSERS, least=1)
    lr: float = setting(
        2e-3,
        "Learning rate.",
        source=f"{_DIFFUSERS}: 5e-4 times 4 photos an update (--scale_lr)",
        above=0,
    )
    batch: int = setting(4, "Photos a step.", source=f"{_DIFFUSERS}: 1 x 4", least=1)

    def phrases(self, nouns: Sequence[str]) -> tuple[str, ...]:
        """The new noun, in the place of the class's."""
        return (self.token,) * len(nouns)

    def fit(
        self, session: Session, subjects: Sequence[Subject], run: Run
    ) -> Generator[Step, None, Delta]:
        """Learn one subject. Stage name: "token"."""
        subject = one_subject(self.name, subjects)
        base = session.base
        photos = base.posterior(subject.images)
        start = base.word(self.initial_word or subject.noun.split()[-1])
        noun = session.token(self.token, start.repeat(self.vectors, 1))
        prompts = [template.replace("{}", self.token) for template in TEMPLATES[self.templates]]

        def loss(batch: Batch) -> Tensor:
            said = [prompts[number] for number in batch.prompt.tolist()]
            return denoising_loss(base, photos, batch, session.condition(said))

        def learnt() -> Delta:
            return Delta(self.phrases([subject.noun]), {self.token: noun.detach().cpu().clone()})

        yield from run.train(
            "token",
            {self.token: noun},
            # The vectors are all there is to learn: no other row of the table, and no decay, which
            # would shrink it towards a word that means nothing.
            Recipe(lr=self.lr, steps=self.steps, weight_decay=0.0, clip=None),
            draw_batch(base, len(subject.photos), self.batch, prompts=len(prompts)),
            loss,
            learnt,
        )
        return learnt()
