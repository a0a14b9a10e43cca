"""Smooth random fields, the same on every machine: value noise over a fixed table."""

from functools import cache

import torch
from torch import Tensor

_SIDE = 64


@cache
def _table(device: torch.device) -> Tensor:
    values = torch.rand(_SIDE, _SIDE, generator=torch.Generator().manual_seed(7))
    right, up = values.roll(-1, 1), values.roll(-1, 0)
    corners = torch.stack([values, right, up, right.roll(-1, 0)])
    return corners.reshape(4, -1).contiguous().to(device)


def _cell(x: Tensor, y: Tensor) -> Tensor:
    return (y.long() & (_SIDE - 1)) * _SIDE + (x.long() & (_SIDE - 1))


def cells(x: Tensor, y: Tensor) -> Tensor:
    """Four independent-looking numbers in 0..1 per integer cell.

    Args:
        x: whole numbers as floats [M].
        y: whole numbers as floats [M].

    Returns:
        [4, M].
    """
    return _table(x.device).index_select(1, _cell(x * 3.0 + 5.0, y * 3.0 + 11.0))


def noise(x: Tensor, y: Tensor) -> Tensor:
    """Value noise in 0..1 with features of size one, for points [M]."""
    fx, fy = x.floor(), y.floor()
    a, b, c, d = _table(x.device).index_select(1, _cell(fx, fy)).unbind(0)
    u, v = x - fx, y - fy
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    low = a + (b - a) * u
    return low + (c + (d - c) * u - low) * v


def clouds(x: Tensor, y: Tensor, octaves: int = 3) -> Tensor:
    """Noise summed over octaves, 0..1, for points [M]."""
    total = noise(x, y) * 0.5
    weight, scale = 0.5, 1.0
    for octave in range(1, octaves):
        weight, scale = weight * 0.5, scale * 2.03
        total = total + noise(x * scale + 17.0 * octave, y * scale - 9.0 * octave) * weight
    return total / (1.0 - weight)
