"""What every image encoder does to pictures before its network sees them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

Pictures: TypeAlias = Sequence[Image.Image] | np.ndarray | Tensor
"""Pictures of any sizes, or uint8 [N, H, W, 3]."""

Processor: TypeAlias = Any
"""An image processor of transformers: it resizes, crops and scales as its folder says."""

BATCH = 64
"""Pictures, or texts, that a network sees at a time; what it answers does not depend on it."""


def features(
    network: Callable[[Tensor], Tensor], processor: Processor, pictures: Pictures, device: str
) -> Tensor:
    """L2-normalised features, float32 [N, D] on the CPU, of pictures.

    ``network``: from pixels [B, 3, S, S] to features [B, D].
    """
    parts = [
        functional.normalize(
            network(processor(images=part, return_tensors="pt").pixel_values.to(device)), dim=-1
        )
        for part in _batches(pictures)
    ]
    return torch.cat(parts).float().cpu()


def _batches(pictures: Pictures) -> Iterator[list[Image.Image]]:
    for first in range(0, len(pictures), BATCH):
        part = pictures[first : first + BATCH]
        yield [_as_image(picture) for picture in part]


def _as_image(picture: Image.Image | np.ndarray | Tensor) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    return Image.fromarray(np.asarray(picture))
