"""A cheap look at training from outside: the loss on noise that never changes.

The loss of a step is noise, since timestep and noise are drawn anew each time; the same timesteps,
noise and photo give a curve that can be read. It costs a few pictures' forward pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeVar

import torch

from rarebooth.base import Base, Batch, Posterior, Session, denoising_loss
from rarebooth.photos import Pixels
from rarebooth.run import generator_for
from rarebooth.subject import Photo

PAIRS: Final = 16
"""Timesteps, each with its own noise, spread evenly over the process."""

ENOUGH_PHOTOS: Final = 5
"""From here on one photo is left out of training for the probe."""

Photos = TypeVar("Photos", Pixels, tuple[Photo, ...])


def learnt_from(photos: Photos) -> Photos:
    """The photos that are trained on where a probe looks on: all but the last, if they do."""
    return photos[:-1] if len(photos) >= ENOUGH_PHOTOS else photos


def looked_on(photos: Photos) -> Photos:
    """The photos that a probe looks on: the one that is not trained on, or all where none is."""
    return photos[-1:] if len(photos) >= ENOUGH_PHOTOS else photos


@dataclass(frozen=True)
class Probe:
    """Fixed noise on fixed photos."""

    base: Base
    photos: Posterior
    batch: Batch

    @classmethod
    def of(cls, base: Base, photos: Pixels) -> Self:
        """Prepare the pairs for photos, uint8 [N, S, S, 3]."""
        last = base.process.timesteps
        rng = generator_for(0, "probe")
        shape = (PAIRS, *base.latent_shape)
        noise, encoding = (torch.randn(shape, generator=rng) for _ in range(2))
        steps = (torch.arange(PAIRS) * 2 + 1) * last // (2 * PAIRS)
        photo = torch.arange(PAIRS) % len(photos)
        drawn = (photo, steps, noise, encoding, torch.zeros(PAIRS, dtype=torch.int64))
        return cls(base, base.posterior(photos), Batch(*(each.to(base.device) for each in drawn)))

    @torch.no_grad()
    def loss(self, session: Session, prompt: str) -> float:
        """The mean loss over all pairs of what the session's base has become, told by a prompt."""
        condition = session.condition([prompt])
        return float(denoising_loss(self.base, self.photos, self.batch, condition).mean())


def stalled(losses: Sequence[float], patience: int) -> bool:
    """Whether the last ``patience`` losses brought none below the best before them."""
    if len(losses) <= patience:
        return False
    return min(losses[-patience:]) >= min(losses[:-patience])
