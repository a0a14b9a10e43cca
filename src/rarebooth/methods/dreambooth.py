"""DreamBooth: a rare word for the subject, fine-tuned weights, and class images to hold the class.

Ruiz et al., "DreamBooth: Fine Tuning Text-to-Image Diffusion Models for Subject-Driven Generation"
(CVPR 2023, arXiv 2208.12242), section 3. The settings for Stable Diffusion are diffusers'.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from rarebooth.base import Session
from rarebooth.delta import Delta
from rarebooth.lesson import Lesson, Shelf
from rarebooth.method import one_subject, setting
from rarebooth.run import Run, Step
from rarebooth.subject import Subject
from rarebooth.weight_training import PriorPreserving, Tunable, told

_README = "diffusers DreamBooth README"


@dataclass(frozen=True, kw_only=True)
class DreamBooth(PriorPreserving, Tunable):
    """Bind a rare word to the subject by tuning the U-Net, with prior preservation."""

    name = "dreambooth"
    paper = (
        "Ruiz et al.: DreamBooth: Fine Tuning Text-to-Image Diffusion Models for Subject-Driven "
        "Generation (CVPR 2023)"
    )
    summary = "a rare word that exists already, the whole U-Net, and class images beside the photos"
    changes = frozenset({"denoiser", "text"})
    stages = ("denoiser",)

    identifier: str = setting(
        "sks",
        "The rare word before the noun; `rarebooth tokens` finds better ones.",
        source=_README,
    )
    prompt: str = setting("a photo of {}", "The prompt of every photo.", source=_README)
    train_text: bool = setting(
        False,
        "Tunes the text encoder too; its README then lowers the learning rate to 2e-6.",
        source="paper: the U-Net, and possibly the text encoder",
    )
    steps: int = setting(800, "Updates.", source=_README, least=1)
    lr: float = setting(
        5e-6, "Learning rate.", source="paper, section 3.3, for Stable Diffusion", above=0
    )

    def fit(
        self, session: Session, subjects: Sequence[Subject], run: Run
    ) -> Generator[Step, None, Delta]:
        """Learn one subject. Stage name: "denoiser"."""
        subject = one_subject(self.name, subjects)
        base = session.base
        (phrase,) = self.phrases([subject.noun])

        # x_pr: drawn from the model as it is, before anything is tuned (section 3.3)
        classes = self.class_shelves(session, run, [subject.noun], first=1)
        photos = Shelf.told_by(0, base.posterior(subject.images))
        lesson = Lesson.of(base, [photos], classes, self.prior_weight)

        tuned = self.tuned(session, run)
        prompts = [self.prompt.replace("{}", phrase), *self.class_prompts([subject.noun])]
        said = told(session, prompts, learning=self.train_text)

        def learnt() -> Delta:
            return Delta((phrase,), weights=tuned.change())

        yield from run.train(
            "denoiser",
            tuned.weights,
            self.recipe(self.lr, self.steps),
            lesson.draw(self.batch * self.accumulate),
            self.held(session, tuned.weights, lambda batch: lesson.loss(batch, said())),
            learnt,
        )
        return learnt()
