"""Solids and paint that several outfits share."""

import torch
from torch import Tensor

from rarebooth.world.figure import Bone, Figure, Place3
from rarebooth.world.solids import Number, drum, length, melt, rod
from rarebooth.world.tensors import Vec

_SLEEVE = 0.035


def on_head(p: Vec, figure: Figure) -> Vec:
    """Points seen from where the rim of a hat sits: x to the side, y up, z to the front."""
    return Vec(p.x - figure.head[0], p.y - figure.head[1] - figure.crown, p.z - figure.head[2])


def brim(hat: Vec, radius: Number, thick: float = 0.06) -> Tensor:
    """A flat round brim, from points ``on_head``."""
    return drum(length(hat.x, hat.z), hat.y, radius, thick * 0.5, thick * 0.45)


def hat_extent(figure: Figure, radius: Number, height: Number) -> Place3:
    """The extent of a hat of a radius about the head's axis and a height above its rim."""
    return radius, figure.head[1] + figure.crown + height, figure.head[2] + radius


def bone(p: Vec, of: Bone, thicker: float) -> Tensor:
    """A bone with flesh of another thickness, once for x > 0 and x < 0 alike."""
    return rod(p.x, p.y, p.z, of.start, of.end, of.radius + thicker, of.end_radius + thicker)


def jacket(p: Vec, figure: Figure, thick: float, hem: float, cuff: float) -> Tensor:
    """A close garment over the trunk with sleeves.

    Args:
        p: points [M].
        figure: the wearer.
        thick: how far it stands off the trunk.
        hem: where it ends on the trunk, 0 at its tail end and 1 at the neck.
        cuff: where sleeves end, 0 at the paw and 1 at the shoulder.
    """
    cover = bone(p, figure.trunk, thick)
    cover = torch.maximum(cover, (hem - along(p, figure.trunk)) * _span(figure.trunk))
    side = Vec(p.x.abs(), p.y, p.z)
    sleeve = bone(side, figure.arm, _SLEEVE)
    sleeve = torch.maximum(sleeve, (cuff - along(side, figure.arm)) * _span(figure.arm))
    return melt(cover, sleeve, 0.05)


def along(p: Vec, of: Bone) -> Tensor:
    """How far along a bone points lie: 0 beside its start, 1 beside its end."""
    (ax, ay, az), (bx, by, bz) = of.start, of.end
    x, y, z = bx - ax, by - ay, bz - az
    return ((p.x - ax) * x + (p.y - ay) * y + (p.z - az) * z) / (x * x + y * y + z * z)


def buttons(p: Vec, figure: Figure, radius: float) -> Tensor:
    """Where three buttons on either side of a jacket are: bool [M]."""
    start, end = figure.buttons
    row = Bone(start, end, 0.0, 0.0)
    side = Vec(p.x.abs(), p.y, p.z)
    at = (along(side, row) * 2.0).round().clamp(0.0, 2.0) / 2.0
    x, y, z = (a + (b - a) * at for a, b in zip(start, end, strict=True))
    return length(side.x - x, side.y - y, side.z - z) < radius


def _span(of: Bone) -> Number:
    (ax, ay, az), (bx, by, bz) = of.start, of.end
    x, y, z = bx - ax, by - ay, bz - az
    return (x * x + y * y + z * z) ** 0.5
