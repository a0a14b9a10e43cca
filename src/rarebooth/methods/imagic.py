"""Imagic: a target text is bent until it gives one photo, then the model, the rest of the way.

Kawar et al., "Imagic: Text-Based Real Image Editing with Diffusion Models" (CVPR 2023, arXiv
2210.09276), section 3; settings for Stable Diffusion as its section 3.3 gives them. One draw of the
photo's latent is kept, as diffusers' community pipeline does. The target of the mixture is any
marked prompt; in the paper, the one it was trained with.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rarebooth.base import Batch, Session, denoising_loss
from rarebooth.delta import Blend, Delta
from rarebooth.lesson import one_photo
from rarebooth.method import one_subject, setting
from rarebooth.run import Recipe, Run, Step, draw_batch
from rarebooth.subject import Subject
from rarebooth.weight_training import Constrained, whole


@dataclass(frozen=True, kw_only=True)
class Imagic(Constrained):
    """Optimise the target's embedding, then the U-Net, on one photo; draw from a mixture."""

    name = "imagic"
    paper = "Kawar et al.: Imagic: Text-Based Real Image Editing with Diffusion Models (CVPR 2023)"
    summary = "one photo and the text it shall become: an embedding, then the U-Net, then a mixture"
    changes = frozenset({"steer", "denoiser"})
    stages = ("embedding", "denoiser")

    mark: str = setting(
        "(this)", "Says in a prompt that it is of the photo.", source="ours: it is never encoded"
    )
    prompt: str = setting(
        "a photo of {}",
        "The target text: what the photo shall become, with {} for the noun.",
        source="paper, section 3: an input, like the photo",
    )
    photo: int = setting(1, "Which photo, counted from 1.", source="paper: one photo", least=1)
    embedding_steps: int = setting(
        1000, "Updates of the embedding.", source="paper, section 3.3", least=1
    )
    embedding_lr: float = setting(
        2e-3, "Learning rate of the embedding.", source="paper, section 3.3", above=0
    )
    steps: int = setting(1500, "Updates of the U-Net.", source="paper, section 3.3", least=1)
    lr: float = setting(5e-7, "Learning rate of the U-Net.", source="paper, section 3.3", above=0)
    weight_decay: float = setting(
        0.0, "Weight decay of what is tuned.", source="paper, section 3.3: Adam", least=0
    )
    eta: float = setting(
        0.7,
        "The target's share of the mixture.",
        source="paper, sections 3.3, 4.4: 0.6 to 0.8",
        least=0,
    )

    def fit(
        self, session: Session, subjects: Sequence[Subject], run: Run
    ) -> Generator[Step, None, Delta]:
        """Learn one photo of one subject. Stage names: "embedding", "denoiser"."""
        subject = one_subject(self.name, subjects)
        base = session.base
        (phrase,) = self.phrases([subject.noun])
        photo = one_photo(base, subject, self.photo, run.seed)

        # (A) from e_tgt to e_opt, which gives the photo, in the model as it is
        with torch.no_grad():
            target = session.condition([self.prompt.replace("{}", subject.noun)])
        embedding = target[0].clone().requires_grad_()
        draw = draw_batch(base, 1, self.batch * self.accumulate)

        def loss(batch: Batch) -> Tensor:
            return denoising_loss(base, photo, batch, embedding[None])

        def blend() -> Blend:
            return Blend(self.mark, embedding.detach().cpu().clone(), self.eta)

        yield from run.train(
            "embedding",
            {"embedding": embedding},
            Recipe(
                lr=self.embedding_lr,
                steps=self.embedding_steps,
                weight_decay=0.0,
                clip=None,
                accumulate=self.accumulate,
            ),
            draw,
            loss,
            lambda: Delta((phrase,), steer=blend()),
        )

        # (B) the model, told e_opt, until it gives the photo exactly
        tuned = whole(session, {"denoiser"})

        def learnt() -> Delta:
            return Delta((phrase,), weights=tuned.change(), steer=blend())

        yield from run.train(
            "denoiser",
            tuned.weights,
            self.recipe(self.lr, self.steps),
            draw,
            self.held(session, tuned.weights, loss),
            learnt,
        )

        # (C) eta e_tgt + (1 - eta) e_opt is what the session makes of a marked prompt
        return learnt()
