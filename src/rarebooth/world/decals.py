"""Patterns and emblems: flat figures laid over a toy's surface."""

import torch
from torch import Tensor

from rarebooth.world.tensors import Vec
from rarebooth.world.traits import EMBLEMS, PATTERNS


def _fold(value: Tensor) -> Tensor:
    """Distance to the nearest cell centre, 0..0.5."""
    return (value - value.floor() - 0.5).abs()


def _square(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(_fold(x), _fold(y)) < 0.21


def _is(kind: Tensor, names: tuple[str, ...], name: str) -> Tensor:
    return kind == float(names.index(name))


def pattern_mask(point: Vec, normal: Vec, kind: Tensor, scale: Tensor, phase: Tensor) -> Tensor:
    """Where the pattern's colour covers the main one.

    Args:
        point: surface points [M] in the toy's own space.
        normal: unit normals [M].
        kind: index into ``PATTERNS`` as float [M].
        scale: cells per unit [M].
        phase: shift in cells [M].

    Returns:
        bool [M]; no pattern covers more than two fifths of a large surface.
    """
    x, y, z = point.x * scale + 0.5, point.y * scale + phase, point.z * scale + 0.5
    steep = normal.y.abs() > 0.8
    sideways = normal.x.abs() > normal.z.abs()
    across = torch.where(sideways & ~steep, z, x)
    up = torch.where(steep, z, y)
    stripes = _fold(y) < 0.19
    bands = _fold(across) < 0.19
    row = up.floor()
    shifted = across + 0.5 * row
    dx, dy = _fold(shifted), _fold(up)
    dots = dx * dx + dy * dy < 0.085
    # Squares at every other place of a chessboard, a little smaller than its own, so that the main
    # colour stays the larger share.
    squares, between = _square(across * 0.7, up * 0.7), _square(across * 0.7 + 0.5, up * 0.7 + 0.5)
    checks = squares | between
    # A gyroid: blotches of no regular shape, yet everywhere of the same size and density.
    gx, gy, gz = x * 3.3 + phase * 7.0, y * 3.3, z * 3.3 + 1.0
    blotch = gx.sin() * gy.cos() + gy.sin() * gz.cos() + gz.sin() * gx.cos()
    return (
        (_is(kind, PATTERNS, "stripes") & stripes)
        | (_is(kind, PATTERNS, "bands") & bands)
        | (_is(kind, PATTERNS, "dots") & dots)
        | (_is(kind, PATTERNS, "checks") & checks)
        | (_is(kind, PATTERNS, "patches") & (blotch > 0.45))
    )


def emblem_mask(x: Tensor, y: Tensor, kind: Tensor) -> Tensor:
    """Where an emblem of radius one about the origin is inked.

    Args:
        x: to the right, in radii [M].
        y: upwards, in radii [M].
        kind: index into ``EMBLEMS`` as float [M].

    Returns:
        bool [M].
    """
    square = x * x + y * y
    # The heart is the zero set of (x^2 + y^2 - 1)^3 - x^2 y^3.
    hx, hy = x * 1.2, y * 1.2 + 0.1
    swell = hx * hx + hy * hy - 1.0
    heart = swell * swell * swell - hx * hx * hy * hy * hy < 0.0
    # A star is inside at least four of the five half planes of a pentagram.
    inside = torch.zeros_like(x)
    for nx, ny in ((0.0, -1.0), (0.951, -0.309), (0.588, 0.809), (-0.588, 0.809), (-0.951, -0.309)):
        inside = inside + (x * nx + y * ny < 0.4)
    star = inside > 3.5
    long, short = torch.maximum(x.abs(), y.abs()), torch.minimum(x.abs(), y.abs())
    bitten = (x - 0.42).square() + (y - 0.1).square() > 0.5
    return (
        (_is(kind, EMBLEMS, "star") & star)
        | (_is(kind, EMBLEMS, "heart") & heart)
        | (_is(kind, EMBLEMS, "ring") & (square < 0.9) & (square > 0.3))
        | (_is(kind, EMBLEMS, "disc") & (square < 0.75))
        | (_is(kind, EMBLEMS, "diamond") & (x.abs() * 1.2 + y.abs() < 1.0))
        | (_is(kind, EMBLEMS, "cross") & (long < 0.9) & (short < 0.3))
        | (_is(kind, EMBLEMS, "moon") & (square < 0.9) & bitten)
    )
