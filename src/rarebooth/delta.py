"""What was learnt about a subject: tensors and the words that call it up, never code.

A ``Delta`` is everything that a base model needs to draw the subject again. Weights are kept as the
change from the base, rounded to 16 bits with one scale a tensor, or as a product of two small
matrices; because every picture is drawn from what is kept, a picture before saving equals the
picture after loading.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Change:
    """One tensor's change from the base: ``values`` fp16 within [-1, 1], times ``scale``."""

    values: Tensor
    scale: float

    @staticmethod
    def between(tuned: Tensor, original: Tensor) -> "Change":
        """Round ``tuned - original`` (same shape, any float type) to 16 bits and one scale."""
        change = tuned.detach().float() - original.to(tuned.device).float()
        scale = float(change.abs().max()) if change.numel() else 0.0
        values = change / scale if scale > 0 else change
        return Change(values.to(torch.float16).cpu(), scale)

    def expand(self) -> Tensor:
        """The change itself, float32."""
        return self.values.float() * self.scale

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor that it changes."""
        return tuple(self.values.shape)

    def fits(self, shape: torch.Size) -> bool:
        """Whether it can change a tensor of this shape."""
        return self.values.shape == shape

    def applied(self, original: Tensor) -> Tensor:
        """The changed tensor, float32, from the base's own on the CPU."""
        return original.float() + self.expand()


@dataclass(frozen=True)
class LowRank:
    """The change ``up @ down`` of one matrix or convolution (Hu et al. 2022, LoRA).

    ``up``: fp32 [out, rank], any scale of the product in it. ``down``: fp32 [rank, in], further
    axes of a convolution flattened into ``in``. ``magnitude``: fp32 [out], the norms that the rows
    have after the change (Liu et al. 2024, DoRA, eq. 5), or None.
    """

    up: Tensor
    down: Tensor
    magnitude: Tensor | None = None

    def expand(self) -> Tensor:
        """The product, float32 [out, in]; without the magnitude, which needs the original."""
        return self.up @ self.down

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the matrix that it changes, or of a convolution's, flattened to one."""
        return len(self.up), self.down.shape[1]

    def fits(self, shape: torch.Size) -> bool:
        """Whether it can change a tensor of this shape."""
        return self.shape == (shape[0], shape[1:].numel())

    def applied(self, original: Tensor) -> Tensor:
        """The changed tensor, float32, from the base's own on the CPU."""
        changed = original.float() + self.expand().view_as(original)
        if self.magnitude is None:
            return changed
        ratio = self.magnitude / changed.flatten(1).norm(dim=1)
        return changed * ratio.view(-1, *[1] * (changed.dim() - 1))


@dataclass(frozen=True)
class Tail:
    """Puts learnt vectors at the end of an encoded prompt (Han et al. 2023, HiPer).

    ``word``: marks the prompts that are steered; it is taken out before they are encoded.
    ``vectors``: fp32 [N, D], for the last N positions, times ``strength``.
    """

    word: str
    vectors: Tensor
    strength: float

    def steer(self, condition: Tensor) -> Tensor:
        """One encoded prompt [L, D] with its tail replaced."""
        tail = self.vectors.to(condition) * self.strength
        return torch.cat([condition[: -len(tail)], tail])


@dataclass(frozen=True)
class Blend:
    """Mixes an encoded prompt with a learnt embedding (Kawar et al. 2023, Imagic, eq. 3).

    ``word``: marks the prompts that are steered; it is taken out before they are encoded.
    ``embedding``: fp32 [L, D]. ``eta``: the share of the prompt; 0 gives the embedding.
    """

    word: str
    embedding: Tensor
    eta: float

    def steer(self, condition: Tensor) -> Tensor:
        """One encoded prompt [L, D], mixed."""
        return self.eta * condition + (1 - self.eta) * self.embedding.to(condition)


Steer = Tail | Blend
"""A closed set: what a method may do to an encoded prompt. Data, so that a file can hold it."""


@dataclass(frozen=True)
class Delta:
    """A learnt subject, or several.

    ``phrases``: what ``{}`` stands for in a prompt, one a subject ("(rare) backpack").
    ``tokens``: new words and their embeddings, fp32 [V, D], one row a vector.
    ``weights``: changes of the base's tensors, keyed "part.parameter" ("denoiser.conv_in.weight").
    ``steer``: what happens to encoded prompts.
    """

    phrases: tuple[str, ...]
    tokens: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    weights: Mapping[str, Change | LowRank] = field(default_factory=dict[str, Change | LowRank])
    steer: Steer | None = None

    def called_by(self, prompt: str) -> bool:
        """Whether a prompt names a subject: by a new word, by the steering one, or by phrase."""
        words = [*self.tokens, *([self.steer.word] if self.steer else [])]
        text = prompt.lower()
        return any(word.lower() in text for word in (words or self.phrases))
