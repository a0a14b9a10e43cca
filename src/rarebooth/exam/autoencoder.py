"""Rows: how well the autoencoder gives pictures back."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Final

from torch import Tensor

from rarebooth.exam.candidate import Candidate
from rarebooth.exam.extent import Extent
from rarebooth.exam.outlook import autoencoder_outlook
from rarebooth.exam.row import Row, judged
from rarebooth.exam.strangers import Renderer, strangers

BAR: Final = 30.0
BAR_AT_128: Final = 28.0
"""Decibels; a picture of 128 pixels is coded 8 times smaller, one of 64 pixels 4 times."""


def autoencoder_rows(candidate: Candidate, extent: Extent, renderer: Renderer) -> Iterator[Row]:
    """Signal to noise over the whole picture, and where the toy is."""
    bar = BAR_AT_128 if candidate.base.size >= 128 else BAR
    pictures = renderer(strangers(extent.coded, f"coded {extent.seed}"), candidate.base.size)
    again = candidate.recode(pictures.images)
    for name, mask in (("whole", None), ("toy", pictures.masks)):
        found = psnr(pictures.images, again, mask)
        yield judged(
            f"autoencoder PSNR, {name}",
            f"at least {bar:g} dB",
            f"{found:.2f} dB on {extent.coded} held-out renders",
            {"decibels": round(found, 3), "pictures": extent.coded},
            reached=found >= bar,
            wanted=partial(autoencoder_outlook, candidate.recipe, bar - found),
        )


def psnr(pictures: Tensor, again: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal to noise ratio in dB of pictures uint8 [N, S, S, 3], over all of their pixels.

    The mean of squares is taken over all pictures at once, then the logarithm. ``mask``: bool
    [N, S, S], the pixels that count.
    """
    square = ((pictures.double() - again.double()) / 255).square().mean(-1)
    mean = float(square.mean() if mask is None else square[mask].mean())
    return math.inf if mean == 0 else -10 * math.log10(mean)
