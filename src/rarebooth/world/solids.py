"""Signed distances of the solids that toys are made of.

Formulas after Inigo Quilez, https://iquilezles.org/articles/distfunctions/. All take and return
tensors [M]; every distance is negative inside, in world units.
"""

from typing import TypeAlias

import torch
from torch import Tensor

Number: TypeAlias = Tensor | float


def length(x: Tensor, y: Tensor, z: Tensor | None = None) -> Tensor:
    """Euclidean length of 2- or 3-vectors."""
    square = x * x + y * y
    return (square if z is None else square + z * z).sqrt()


def ball(x: Tensor, y: Tensor, z: Tensor, radius: Number) -> Tensor:
    """A ball about the origin."""
    return length(x, y, z) - radius


def ellipsoid(x: Tensor, y: Tensor, z: Tensor, a: Number, b: Number, c: Number) -> Tensor:
    """An ellipsoid with half axes a, b, c (a close estimate of the distance)."""
    u, v, w = x / a, y / b, z / c
    k0 = length(u, v, w)
    k1 = length(u / a, v / b, w / c)
    return k0 * (k0 - 1.0) / (k1 + 1e-6)


def box(x: Tensor, y: Tensor, z: Tensor, a: Number, b: Number, c: Number, edge: float) -> Tensor:
    """A box with half edges a, b, c (outer measures) and edges rounded by ``edge``."""
    qx, qy, qz = x.abs() - (a - edge), y.abs() - (b - edge), z.abs() - (c - edge)
    outside = length(qx.clamp_min(0.0), qy.clamp_min(0.0), qz.clamp_min(0.0))
    return outside + torch.maximum(torch.maximum(qx, qy), qz).clamp_max(0.0) - edge


def _corner(radial: Tensor, axial: Tensor, edge: float) -> Tensor:
    outside = length(radial.clamp_min(0.0), axial.clamp_min(0.0))
    return outside + torch.maximum(radial, axial).clamp_max(0.0) - edge


def drum(radial: Tensor, axial: Tensor, radius: Number, half: Number, edge: float) -> Tensor:
    """A cylinder from its distance to the axis and its height along it, with a rounded rim."""
    return _corner(radial - (radius - edge), axial.abs() - (half - edge), edge)


def ring(radial: Tensor, axial: Tensor, radius: Number, thickness: Number) -> Tensor:
    """A torus from the distance to its axis and the height along it."""
    return length(radial - radius, axial) - thickness


def rod(
    x: Tensor,
    y: Tensor,
    z: Tensor,
    start: tuple[Number, Number, Number],
    end: tuple[Number, Number, Number],
    radius: Number,
    end_radius: Number | None = None,
) -> Tensor:
    """A rod with round ends between two points, optionally tapering to ``end_radius``."""
    bx, by, bz = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    px, py, pz = x - start[0], y - start[1], z - start[2]
    h = ((px * bx + py * by + pz * bz) / (bx * bx + by * by + bz * bz)).clamp(0.0, 1.0)
    away = length(px - h * bx, py - h * by, pz - h * bz)
    return away - (radius if end_radius is None else radius + h * (end_radius - radius))


def melt(a: Tensor, b: Tensor, width: float) -> Tensor:
    """The union of two solids with a soft seam of the given width."""
    h = (width - (a - b).abs()).clamp_min(0.0)
    return torch.minimum(a, b) - h * h * (0.25 / width)
