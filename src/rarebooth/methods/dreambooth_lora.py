"""DreamBooth on low-rank adapters: a rare word, and small matrices beside the attention's weights.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (ICLR 2022), applied to Ruiz et al.,
"DreamBooth" (CVPR 2023), as diffusers' train_dreambooth_lora.py does.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from rarebooth.adapters import Shape, adapter_size
from rarebooth.base import Base, Session
from rarebooth.delta import Delta
from rarebooth.lesson import Lesson
from rarebooth.method import one_subject, setting
from rarebooth.run import Run, Step
from rarebooth.subject import Subject
from rarebooth.weight_training import PriorPreserving, low_rank, told

_README = "diffusers DreamBooth LoRA README"
_SCRIPT = "diffusers train_dreambooth_lora.py"


@dataclass(frozen=True, kw_only=True)
class DreamBoothLora(PriorPreserving):
    """Bind a rare word to the subject by low-rank adapters on the U-Net's attention."""

    name = "dreambooth-lora"
    paper = "Ruiz et al.: DreamBooth (CVPR 2023); Hu et al.: LoRA (ICLR 2022)"
    summary = "a rare word that exists already, and low-rank adapters on the attention"
    changes = frozenset({"denoiser", "text"})
    stages = ("denoiser",)

    identifier: str = setting("sks", "The rare word before the noun.", source=_README)
    prompt: str = setting("a photo of {}", "The prompt of every photo.", source=_README)
    prior: bool = setting(False, "Trains on class images too.", source=_README)
    train_text: bool = setting(False, "Adapts the text encoder too.", source=_SCRIPT)
    rank: int = setting(4, "Rank of the adapters.", source=_SCRIPT, least=1)
    alpha: float = setting(4.0, "Scale of the adapters, times rank.", source=_SCRIPT, above=0)
    dora: bool = setting(
        False, "Learns the norms of rows apart.", source="Liu et al. 2024, DoRA; off in diffusers"
    )
    steps: int = setting(500, "Updates.", source=_README, least=1)
    lr: float = setting(1e-4, "Learning rate.", source=_README, above=0)

    @property
    def trains(self) -> frozenset[str]:
        """The U-Net, and the text encoder where that is asked for."""
        return self.changes if self.train_text else frozenset({"denoiser"})

    @property
    def shape(self) -> Shape:
        """How large the adapters are."""
        return Shape(rank=self.rank, alpha=self.alpha, dora=self.dora)

    def trained(self, base: Base) -> int:
        """How many numbers the adapters have."""
        return sum(adapter_size(base, part, self.shape) for part in self.trains)

    def fit(
        self, session: Session, subjects: Sequence[Subject], run: Run
    ) -> Generator[Step, None, Delta]:
        """Learn one subject. Stage name: "denoiser"."""
        subject = one_subject(self.name, subjects)
        base = session.base
        (phrase,) = self.phrases([subject.noun])
        prior = self.class_posterior(session, run, subject.noun)
        lesson = Lesson.of(base, base.posterior(subject.images), prior, self.prior_weight)

        tuned = low_rank(session, self.trains, self.shape, run.seed)
        prompts = (self.prompt.replace("{}", phrase), self.class_prompt.replace("{}", subject.noun))
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
