"""How sharp a picture is: the variance of its Laplacian (Pech-Pacheco et al. 2000)."""

import numpy as np

from rarebooth.photos import Pixels

_LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""


def sharpness(pictures: Pixels) -> np.ndarray:
    """Sharpness, float [...], of pictures uint8 [..., H, W, 3], at least 3 pixels a side.

    Four neighbours less four times the pixel, where all neighbours are in the picture.
    """
    luma = pictures @ np.array(_LUMA)
    middle = luma[..., 1:-1, 1:-1]
    beside = luma[..., 1:-1, :-2] + luma[..., 1:-1, 2:]
    above = luma[..., :-2, 1:-1] + luma[..., 2:, 1:-1]
    return (beside + above - 4 * middle).var(axis=(-2, -1))
