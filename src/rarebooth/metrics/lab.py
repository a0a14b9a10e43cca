"""CIE Lab: colours in steps that look about equal, so that distances mean something.

sRGB by IEC 61966-2-1, white D65; Lab by CIE 15:2004.
"""

from typing import Final

import numpy as np

_TO_XYZ: Final = np.array(
    [
        [0.4124, 0.3576, 0.1805],
        [0.2126, 0.7152, 0.0722],
        [0.0193, 0.1192, 0.9505],
    ]
)
_KNEE: Final = 6 / 29


def lab(colours: np.ndarray) -> np.ndarray:
    """Lab [..., 3] of display colours [..., 3], 0 to 255; L is 100 for white."""
    shown = colours / 255
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    # Each divided by the white's, which is the sum of its row.
    ratio = linear @ _TO_XYZ.T / _TO_XYZ.sum(axis=1)
    root = np.where(ratio > _KNEE**3, np.cbrt(ratio), ratio / (3 * _KNEE**2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
