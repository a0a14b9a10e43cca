"""What is learnt from: pictures, what is said of each, and class images to be drawn as before.

The arithmetic that methods which tune weights share, so that their files say only what is theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rarebooth.base import Base, Batch, Posterior, denoising_loss
from rarebooth.run import draw_batch


@dataclass(frozen=True)
class Lesson:
    """Pictures of subjects, followed by class images, if any.

    ``told``: int64 [N], which prompt describes each picture. ``subjects``: how many of the pictures
    are of subjects. ``prior_weight``: what the error on class images counts. ``masks``: fp32
    [N, 1, h, w], the places of each picture that count, or None.
    """

    base: Base
    photos: Posterior
    told: Tensor
    subjects: int
    prior_weight: float = 1.0
    masks: Tensor | None = None

    @staticmethod
    def of(base: Base, photos: Posterior, prior: Posterior | None, weight: float) -> "Lesson":
        """One prompt for all photos, the first, and one for the class images, the second."""
        count = len(photos.mean)
        classes = 0 if prior is None else len(prior.mean)
        told = torch.tensor([0] * count + [1] * classes, device=base.device)
        everything = photos if prior is None else photos.and_then(prior)
        return Lesson(base, everything, told, count, weight)

    def draw(self, count: int) -> Callable[[torch.Generator], Batch]:
        """A drawer of ``count`` subjects' pictures, each followed by a class image, if any."""
        subject = draw_batch(self.base, self.subjects, count)
        classes = len(self.told) - self.subjects
        if not classes:
            return subject
        prior = draw_batch(self.base, classes, count)

        def draw(rng: torch.Generator) -> Batch:
            first, second = subject(rng), prior(rng)
            pairs = (
                (first.photo, second.photo + self.subjects),
                (first.timestep, second.timestep),
                (first.noise, second.noise),
                (first.encoding, second.encoding),
                (first.prompt, second.prompt),
            )
            return Batch(*(torch.stack(pair, 1).flatten(0, 1) for pair in pairs))

        return draw

    def loss(self, batch: Batch, condition: Tensor) -> Tensor:
        """One number a sample, fp32 [B], told by prompts [P, L, D].

        With class images their mean is the mean error on subjects plus ``prior_weight`` times that
        on class images (Ruiz et al. 2023, eq. 2, as diffusers adds the two).
        """
        mask = None if self.masks is None else self.masks[batch.photo]
        told = condition[self.told[batch.photo]]
        error = denoising_loss(self.base, self.photos, batch, told, mask)
        if len(self.told) == self.subjects:
            return error
        of_class = batch.photo >= self.subjects
        return 2 * torch.where(of_class, self.prior_weight * error, error)
