"""Judges that look at every picture, and read every text, once.

Metrics, checkpoints and methods compare the same photos again and again. What was seen is kept for
as long as the judge lives, without a bound: a picture costs the few hundred numbers of its feature,
so that a hundred thousand pictures fit into 200 MB.
"""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rarebooth.photos import Pixels


class PictureEncoder(Protocol):
    """Turns pictures into features."""

    def images(self, pictures: Pixels) -> Tensor:
        """Features [N, D] of pictures uint8 [N, S, S, 3]."""
        ...


class TextEncoder(PictureEncoder, Protocol):
    """Turns pictures and texts into features."""

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Features [N, D]."""
        ...


class RememberingJudge:
    """A ``PictureJudge`` that asks its encoder about every picture once.

    ``name``: which network. ``fed``: what is done to a picture before the network sees it, and
    which of its answers is the feature.
    """

    def __init__(self, encoder: PictureEncoder, name: str, fed: str) -> None:
        self.name = name
        self.fed = fed
        self._encoder = encoder
        self._seen: dict[Hashable, Tensor] = {}

    def images(self, pictures: Pixels) -> Tensor:
        """The encoder's features, float32 [N, D], of pictures uint8 [N, S, S, 3]."""
        keys = [_key(picture) for picture in pictures]
        return _recall(self._seen, keys, lambda new: self._encoder.images(pictures[new]))


class RememberingTextJudge(RememberingJudge):
    """A ``TextJudge`` that asks its encoder about every picture and every text once."""

    def __init__(self, encoder: TextEncoder, name: str, fed: str) -> None:
        super().__init__(encoder, name, fed)
        self._reader = encoder
        self._read: dict[Hashable, Tensor] = {}

    def texts(self, texts: list[str]) -> Tensor:
        """The encoder's features, float32 [N, D], of texts."""
        return _recall(
            self._read, texts, lambda new: self._reader.texts([texts[index] for index in new])
        )


def _recall(
    known: dict[Hashable, Tensor],
    keys: Sequence[Hashable],
    encode: Callable[[list[int]], Tensor],
) -> Tensor:
    """The features of all keys; those that are new are encoded by their places, in one call."""
    first: dict[Hashable, int] = {}
    for index, key in enumerate(keys):
        if key not in known:
            first.setdefault(key, index)
    if first:
        known.update(zip(first, encode(list(first.values())), strict=True))
    return torch.stack([known[key] for key in keys])


def _key(picture: np.ndarray) -> Hashable:
    return picture.shape, hashlib.blake2b(picture.tobytes(), digest_size=16).digest()
