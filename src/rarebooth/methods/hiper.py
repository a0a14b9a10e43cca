"""HiPer: the end of one photo's encoded prompt is learnt, and put at the end of other prompts.

Han et al., "Highly Personalized Text Embedding for Image Manipulation by Stable Diffusion"
(arXiv 2303.08767), section 3, and its code (train.py, inference.py).
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rarebooth.base import Batch, Session, denoising_loss
from rarebooth.delta import Delta, Tail
from rarebooth.lesson import one_photo
from rarebooth.method import Method, one_subject, setting
from rarebooth.run import Recipe, Run, Step, draw_batch
from rarebooth.subject import Subject

_CODE = "its code, train.py"


@dataclass(frozen=True, kw_only=True)
class HiPer(Method):
    """Learn the last positions of an encoded prompt from one photo; edit it by other prompts."""

    name = "hiper"
    paper = (
        "Han et al.: Highly Personalized Text Embedding for Image Manipulation by Stable "
        "Diffusion (2023)"
    )
    summary = "one photo, whose look is learnt as the tail of an encoded prompt; an untouched base"
    changes = frozenset({"steer"})
    stages = ("tail",)

    mark: str = setting(
        "(this)", "Says in a prompt that it is of the photo.", source="ours: it is never encoded"
    )
    prompt: str = setting(
        "a photo of {}", "The source text, which describes the photo.", source="paper, section 3"
    )
    photo: int = setting(1, "Which photo, counted from 1.", source="paper: one photo", least=1)
    positions: int = setting(5, "How many of the last positions are learnt.", source=_CODE, least=1)
    strength: float = setting(
        0.8, "What the tail counts in other prompts.", source="its code, inference.py", above=0
    )
    steps: int = setting(1000, "Updates.", source="its README: step 1000 is used", least=1)
    lr: float = setting(5e-3, "Learning rate.", source="its README", above=0)
    batch: int = setting(1, "Noises a step.", source=_CODE, least=1)

    def fit(
        self, session: Session, subjects: Sequence[Subject], run: Run
    ) -> Generator[Step, None, Delta]:
        """Learn one photo of one subject. Stage name: "tail"."""
        subject = one_subject(self.name, subjects)
        base = session.base
        (phrase,) = self.phrases([subject.noun])
        photo = one_photo(base, subject, self.photo, run.seed)

        with torch.no_grad():
            source = session.condition([self.prompt.replace("{}", subject.noun)])[0]
        tail = source[-self.positions :].clone().requires_grad_()

        def loss(batch: Batch) -> Tensor:
            condition = Tail(self.mark, tail, 1.0).steer(source)
            return denoising_loss(base, photo, batch, condition[None])

        def learnt() -> Delta:
            vectors = tail.detach().cpu().clone()
            return Delta((phrase,), steer=Tail(self.mark, vectors, self.strength))

        yield from run.train(
            "tail",
            {"tail": tail},
            Recipe(lr=self.lr, steps=self.steps, weight_decay=0.0, clip=None),
            draw_batch(base, 1, self.batch),
            loss,
            learnt,
        )
        return learnt()
