"""The few tensor shapes and helpers that the whole renderer shares.

Rays and points are structures of arrays: one tensor [M] per coordinate, colours as [3, M]. That
keeps every operation elementwise over contiguous memory, several times faster than [M, 3].
"""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

LANES = 32
"""Flat index lists are padded to a multiple of this, so that no element falls into the scalar
tail of a vectorised loop, whose rounding may differ: a picture must not depend on its batch."""


class Vec(NamedTuple):
    """Points or directions as three tensors of one shape."""

    x: Tensor
    y: Tensor
    z: Tensor

    def at(self, index: Tensor) -> "Vec":
        """The elements at a flat index."""
        return Vec(
            self.x.index_select(0, index),
            self.y.index_select(0, index),
            self.z.index_select(0, index),
        )

    def along(self, direction: "Vec", t: Tensor | float) -> "Vec":
        """The points ``self + t * direction``."""
        return Vec(self.x + t * direction.x, self.y + t * direction.y, self.z + t * direction.z)

    def dot(self, other: "Vec") -> Tensor:
        """Scalar products."""
        return self.x * other.x + self.y * other.y + self.z * other.z

    def unit(self) -> "Vec":
        """The same directions with length one."""
        scale = (self.dot(self) + 1e-12).rsqrt()
        return Vec(self.x * scale, self.y * scale, self.z * scale)


Sizes: TypeAlias = Mapping[str, Tensor]


def chosen(mask: Tensor) -> Tensor:
    """The flat indices where a mask is true, padded by repeating the first one.

    Args:
        mask: bool [M].

    Returns:
        int64 [K'], K' a multiple of ``LANES`` (or 0); repeated indices are harmless because equal
        inputs give equal outputs.
    """
    index = mask.nonzero().squeeze(1)
    missing = -index.numel() % LANES
    return torch.cat([index, index[:1].expand(missing)]) if missing else index


def mix(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """``a`` where weight is 0, ``b`` where it is 1, a blend between."""
    return a + (b - a) * weight


def ramp(value: Tensor, start: float | Tensor, end: float | Tensor) -> Tensor:
    """0 up to ``start``, 1 from ``end`` on, straight between."""
    return ((value - start) / (end - start)).clamp(0.0, 1.0)


def rgb(colour: tuple[float, float, float], like: Tensor) -> Tensor:
    """A display colour (0..1) as linear light, [3, 1]; not to be written to."""
    return _linear(colour, like.dtype, like.device)


@cache
def _linear(colour: tuple[float, float, float], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor([c * c for c in colour], dtype=dtype, device=device)[:, None]
