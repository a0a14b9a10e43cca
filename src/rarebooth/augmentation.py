"""Photos made smaller or larger, with words that say so: Custom Diffusion's augmentation.

Kumari et al., "Multi-Concept Customization of Text-to-Image Diffusion" (CVPR 2023), its code
(src/finetune_data.py).
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from rarebooth.base import Base
from rarebooth.lesson import Shelf

SMALL = ("a far away ", "very small ")
LARGE = ("zoomed in ", "close up ")
PREFIXES = ("", *SMALL, *LARGE)
"""What is put before a caption: nothing, that the photo was made small, or large."""

GREY = 128
"""What is around a small photo: 0 where pixels are from -1 to 1."""

_ENLARGED = 1 / 3
_SMALL_BELOW = 0.6


def augmented_shelf(
    base: Base, photos: np.ndarray, variants: int, first: int, rng: torch.Generator
) -> Shelf:
    """So many variants of each photo, uint8 [N, S, S, 3], encoded.

    They are told by the prompts from number ``first`` on, one for each of ``PREFIXES``.
    """
    side = base.latent_shape[1]
    made = [augmented(photo, side, rng) for photo in photos for _ in range(variants)]
    return Shelf(
        base.posterior(np.stack([each.image for each in made])),
        [first + PREFIXES.index(each.words) for each in made],
        torch.stack([each.mask for each in made]),
    )


@dataclass(frozen=True)
class Variant:
    """A photo, uint8 [S, S, 3], the words before its caption, and which latents count [h, w]."""

    image: np.ndarray
    words: str
    mask: torch.Tensor


def augmented(photo: np.ndarray, side: int, rng: torch.Generator) -> Variant:
    """One random variant of a photo, uint8 [S, S, 3], for latents of ``side`` by ``side``.

    Two times of three the scale is uniform between a third and the whole, but covers three latents
    at least, else between 1.2 and 1.4. Below 0.6 the photo stands somewhere on grey, which does not
    count, nor does a rim of one latent; above 1 a part of it is cut out; between, it is left as it
    is.
    """
    size = len(photo)
    everywhere = torch.ones(side, side)
    chance, place, across, down, word = torch.rand(5, generator=rng).tolist()
    if chance < _ENLARGED:
        scaled = round(size * (1.2 + 0.2 * place))
        left, top = (int(where * (scaled - size + 1)) for where in (across, down))
        image = _resized(photo, scaled)[top : top + size, left : left + size]
        return Variant(image, LARGE[int(word * len(LARGE))], everywhere)
    least = max(1 / 3, 3 / side)  # three latents leave one that counts, wherever they stand
    scaled = round(size * (least + (1 - least) * place))
    if scaled >= _SMALL_BELOW * size:
        return Variant(photo, "", everywhere)
    left, top = (int(where * (size - scaled + 1)) for where in (across, down))
    image = np.full_like(photo, GREY)
    image[top : top + scaled, left : left + scaled] = _resized(photo, scaled)
    cell = size // side
    mask = torch.zeros(side, side)
    rows, columns = (slice(at // cell + 1, (at + scaled) // cell - 1) for at in (top, left))
    mask[rows, columns] = 1
    return Variant(image, SMALL[int(word * len(SMALL))], mask)


def _resized(photo: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).resize((size, size), Image.Resampling.BICUBIC))
