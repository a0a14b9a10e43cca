"""What was learnt about a subject: tensors and the words that call it up, never code.

A ``Delta`` is everything that a base model needs to draw the subject again. Weights are kept as the
change from the base, rounded to 16 bits with one scale a tensor; because every picture is drawn
from the rounded change, a picture before saving equals the picture after loading.
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


@dataclass(frozen=True)
class Delta:
    """A learnt subject, or several.

    ``phrases``: what ``{}`` stands for in a prompt, one a subject ("(rare) backpack").
    ``tokens``: new words and their embeddings, fp32 [1, D].
    ``weights``: changes of the base's tensors, keyed "part.parameter" ("denoiser.conv_in.weight").
    """

    phrases: tuple[str, ...]
    tokens: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    weights: Mapping[str, Change] = field(default_factory=dict[str, Change])
