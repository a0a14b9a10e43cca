"""DreamBooth on low-rank adapters: a rare word, and small matrices beside the attention's weights.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (ICLR 2022), applied to Ruiz et al.,
"DreamBooth" (CVPR 2023), as diffusers' train_dreambooth_lora.py does.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from rarebooth.base import Session
from rarebooth.delta import Delta
from rarebooth.lesson import Lesson, Shelf
from rarebooth.method import one_subject, setting
from rarebooth.run import Run, Step
from rarebooth.subject import Subject
from rarebooth.weight_training import Adaptable, PriorPreserving, told

_README = "diffusers DreamBooth LoRA README"
_SCRIPT = "diffusers train_dreambooth_lora.py"


@dataclass(frozen=True, kw_only=True)
class DreamBoothLora(PriorPreserving, Adaptable):
    """Bind a rare word to the subject by low-rank adapters on the U-Net's attention."""

    name = "dreambooth-lora"
    paper = "Ruiz et al.: DreamBooth (CVPR 2023); Hu et al.: LoRA (ICLR 2022)"
    summary = "a rare word that exists already, and low-rank adapters on the attention"
    changes = frozenset({"denoiser", "text"})
    stages = ("denoiser",)

    identifier: str = setting("sks", "The rare word before the noun.", source=_README)
    prompt: str = setting("a photo of {}", "The prompt of every photo.", source=_README)
    prior: bool = setting(False, "Trains on class images too.", source=_README)
    rank: int = setting(4, "Rank of the adapters.", source=_SCRIPT, least=1)
    alpha: float = setting(4.0, "Scale of the adapters, times rank.", source=_SCRIPT, above=0)
    steps: int = setting(500, "Updates.", source=_README, least=1)
    lr: float = setting(1e-4, "Learning rate.", source=_README, above=0)

    def fit(
        self, session: Session, subjects: Sequence[Subject], run: Run
    ) -> Generator[Step, None, Delta]:
        """Learn one subject. Stage name: "denoiser"."""
        subject = one_subject(self.name, subjects)
        base = session.base
        (phrase,) = self.phrases([subject.noun])
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
            lambda batch: lesson.loss(batch, said()),
            learnt,
        )
        return learnt()
