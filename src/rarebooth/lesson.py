"""What is learnt from: pictures, what is said of each, and class images to be drawn as before.

The arithmetic that methods which tune weights share, so that their files say only what is theirs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from rarebooth.base import Base, Batch, Posterior, denoising_loss
from rarebooth.run import draw_batch, generator_for
from rarebooth.subject import Subject


def one_photo(base: Base, subject: Subject, number: int, seed: int) -> Posterior:
    """One photo, counted from 1, or the last of fewer; its latents are drawn once and kept."""
    chosen = min(number, len(subject.photos)) - 1
    noise = torch.randn((1, *base.latent_shape), generator=generator_for(seed, "latent"))
    return base.posterior(subject.images[chosen : chosen + 1]).fixed(noise)


class Shelf(NamedTuple):
    """Pictures, the number of the prompt that tells each, and the places of each that count.

    ``masks``: fp32 [N, h, w], or None where all places do.
    """

    photos: Posterior
    prompts: Sequence[int]
    masks: Tensor | None = None

    @staticmethod
    def told_by(prompt: int, photos: Posterior) -> "Shelf":
        """Pictures that one prompt tells, and all of whose places count."""
        return Shelf(photos, [prompt] * len(photos.mean))


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
    prior_weight: float
    masks: Tensor | None

    @staticmethod
    def of(
        base: Base, subjects: Sequence[Shelf], classes: Sequence[Shelf], prior_weight: float
    ) -> "Lesson":
        """Everything that stands on some shelves of subjects' pictures and of class images."""
        shelves = [*subjects, *classes]
        photos = reduce(Posterior.and_then, (shelf.photos for shelf in shelves))
        told = [number for shelf in shelves for number in shelf.prompts]
        shown = sum(len(shelf.prompts) for shelf in subjects)
        masks = None
        if any(shelf.masks is not None for shelf in shelves):
            everywhere = torch.ones(1, *base.latent_shape[1:])
            masks = torch.cat(
                [
                    everywhere.expand(len(shelf.prompts), -1, -1)
                    if shelf.masks is None
                    else shelf.masks
                    for shelf in shelves
                ]
            )[:, None].to(base.device)
        numbers = torch.tensor(told, device=base.device)
        return Lesson(base, photos, numbers, shown, prior_weight, masks)

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
