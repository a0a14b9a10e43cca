"""What a generator does to a picture without changing what it shows: the examiner reads past it."""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

SHIFT: Final = 2
"""Pixels a picture is moved by, at most, each way."""

BRIGHTNESS: Final = 0.08
CONTRAST: Final = 0.1
"""Standard deviations, of a range of -1..1, and of a factor."""

BLURRED: Final = 0.5
"""The share of a batch whose fine detail is lost: what autoencoders and short trainings do."""

NOISE: Final = 0.06
"""The most noise, as a standard deviation; the deviation itself is drawn evenly."""


def soften(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [B, 3, S, S] in -1..1, moved, mirrored, lit otherwise, blurred and made noisy.

    Nothing in the world is told by its handedness, so a mirrored scene is as true as the scene.
    """
    count, device = len(pictures), pictures.device

    def chance(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator, device=device)

    mirrored = chance(1, 1, 1) < 0.5
    pictures = torch.where(mirrored, pictures.flip(-1), pictures)
    pictures = _moved(pictures, chance(2))
    blurred = (chance(1, 1, 1) < BLURRED) * chance(1, 1, 1)
    pictures = pictures + blurred * (_blur(pictures) - pictures)
    middle = pictures.mean((1, 2, 3), keepdim=True)
    light = torch.randn(2, count, 1, 1, 1, generator=generator, device=device)
    pictures = middle + (pictures - middle) * (1 + CONTRAST * light[0]) + BRIGHTNESS * light[1]
    noise = torch.randn(pictures.shape, generator=generator, device=device)
    return pictures + NOISE * chance(1, 1, 1) * noise


def _moved(pictures: Tensor, chance: Tensor) -> Tensor:
    """Each picture moved by whole pixels, its edge repeated where it came in."""
    size = pictures.shape[-1]
    padded = functional.pad(pictures, (SHIFT,) * 4, mode="replicate")
    by = (chance * (2 * SHIFT + 1)).long()
    steps = torch.arange(size, device=pictures.device)
    rows, columns = (by[:, axis, None] + steps for axis in (0, 1))
    batch = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _blur(pictures: Tensor) -> Tensor:
    """Binomial of 5 pixels, each way: a deviation of one pixel."""
    weights = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=pictures.device) / 16
    channels = pictures.shape[1]
    for shape in ((1, 1, 5, 1), (1, 1, 1, 5)):
        padding = (0, 0, 2, 2) if shape[2] == 5 else (2, 2, 0, 0)
        kernel = weights.view(shape).expand(channels, -1, -1, -1)
        pictures = functional.conv2d(
            functional.pad(pictures, padding, mode="replicate"), kernel, groups=channels
        )
    return pictures
