"""The toy as one solid: distance, nearest part, normals, and rays that meet it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rarebooth.world.shot import CUBE_SHARE
from rarebooth.world.solids import box
from rarebooth.world.tensors import Sizes, Vec, chosen
from rarebooth.world.toy import Toy

_STEPS = 36
_COMPACT_EVERY = 4
_CLOSE = 0.003
_FACE_STEPS = 16
_FACE_CLOSE = 0.02


@dataclass(frozen=True)
class Body:
    """Toys of one class at flat points: sizes [M], and the half edge of the cube they turn into.

    ``cube`` is None for toys that keep their shape; ``reach`` is what encloses the toy as it was:
    half width, height and half depth.
    """

    toy: Toy
    sizes: Sizes
    cube: Tensor | None
    reach: Vec

    def at(self, index: Tensor) -> "Body":
        """The bodies of the rays at a flat index."""
        sizes = {name: value.index_select(0, index) for name, value in self.sizes.items()}
        cube = None if self.cube is None else self.cube.index_select(0, index)
        return Body(self.toy, sizes, cube, self.reach.at(index))

    def distance(self, point: Vec) -> Tensor:
        """Signed distance [M]."""
        pieces = self.toy.pieces(point, self.sizes)
        total = pieces[0].distance
        for piece in pieces[1:]:
            total = torch.minimum(total, piece.distance)
        if self.cube is None:
            return total
        half = self.cube
        block = box(point.x, point.y - half, point.z, half, half, half, 0.06)
        return block * CUBE_SHARE + total * (1.0 - CUBE_SHARE)

    def painted(self, point: Vec, normal: Vec) -> tuple[Vec, Tensor, Tensor]:
        """Whose paint surface points [M] show.

        Each face of a cube is a picture of the toy as seen from that side, stretched to fill the
        face; it has a plain ground.

        Returns:
            The toy's own point, the index of its part (0 on the ground), and where the ground is.
        """
        if self.cube is None:
            return point, self.part(point), torch.zeros_like(point.x, dtype=torch.bool)
        reach, scale = self.reach, 1.0 / self.cube
        across, up, ahead = normal.x.abs(), normal.y.abs(), normal.z.abs()
        aside = (across > ahead) & (across > up)
        above = (up >= across) & (up > ahead)
        before = ~aside & ~above
        face = Vec(
            torch.where(aside, normal.x.sign(), point.x * scale) * reach.x,
            torch.where(above, normal.y.sign().clamp_min(0.0), point.y * scale * 0.5) * reach.y,
            torch.where(before, normal.z.sign(), point.z * scale) * reach.z,
        )
        way = Vec(-normal.x.sign() * aside, -normal.y.sign() * above, -normal.z.sign() * before)
        shape = Body(self.toy, self.sizes, None, reach)
        seen, away = face, shape.distance(face)
        for _ in range(_FACE_STEPS):
            seen = seen.along(way, away)
            away = shape.distance(seen)
        ground = away > _FACE_CLOSE
        shown = Vec(*(torch.where(ground, f, s) for f, s in zip(face, seen, strict=True)))
        return shown, shape.part(shown).masked_fill(ground, 0), ground

    def part(self, point: Vec) -> Tensor:
        """Index of the nearest part, int64 [M]."""
        pieces = self.toy.pieces(point, self.sizes)
        nearest = pieces[0].distance
        part = torch.full_like(nearest, pieces[0].part, dtype=torch.int64)
        for piece in pieces[1:]:
            closer = piece.distance < nearest
            nearest = torch.minimum(nearest, piece.distance)
            part = part.masked_fill(closer, piece.part)
        return part

    def normal(self, point: Vec) -> Vec:
        """Unit normals, from four distances at the corners of a tetrahedron."""
        nx = ny = nz = torch.zeros_like(point.x)
        for sx, sy, sz in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
            step = 0.002
            d = self.distance(Vec(point.x + sx * step, point.y + sy * step, point.z + sz * step))
            nx, ny, nz = nx + sx * d, ny + sy * d, nz + sz * d
        return Vec(nx, ny, nz).unit()


def crossing(start: Vec, way: Vec, bounds: Vec, margin: float = 0.0) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave the box around the toy; no hit where entry > exit."""
    low = high = None
    for origin, step, lower, upper in (
        (start.x, way.x, -bounds.x - margin, bounds.x + margin),
        (start.y, way.y, -margin, bounds.y + margin),
        (start.z, way.z, -bounds.z - margin, bounds.z + margin),
    ):
        inverse = 1.0 / torch.where(step.abs() < 1e-6, 1e-6, step)
        a, b = (lower - origin) * inverse, (upper - origin) * inverse
        near, far = torch.minimum(a, b), torch.maximum(a, b)
        low = near if low is None else torch.maximum(low, near)
        high = far if high is None else torch.minimum(high, far)
    assert low is not None
    assert high is not None
    return low, high


def march(body: Body, start: Vec, way: Vec, entry: Tensor, leave: Tensor) -> Tensor:
    """Follow rays [M] to the surface.

    Returns:
        Distance along the ray [M], infinite where nothing is met.
    """
    found = torch.full_like(entry, torch.inf)
    index = torch.arange(entry.numel(), device=entry.device)
    t = entry
    for step in range(_STEPS):
        d = body.distance(start.along(way, t))
        t = t + d
        if step % _COMPACT_EVERY == _COMPACT_EVERY - 1 or step == _STEPS - 1:
            hit = d < _CLOSE
            found.index_copy_(0, index, torch.where(hit, t, torch.inf))
            keep = chosen(~hit & (t < leave))
            if keep.numel() == 0:
                break
            body, start, way = body.at(keep), start.at(keep), way.at(keep)
            index, t, leave = index[keep], t[keep], leave[keep]
    return found


def shadow(body: Body, start: Vec, way: Vec, bounds: Vec, steps: int) -> Tensor:
    """How much of the light towards ``way`` reaches points [M]: 0 dark, 1 free; soft edges."""
    entry, leave = crossing(start, way, bounds, 0.06)
    entry = entry.clamp_min(0.025)
    free = torch.ones_like(entry)
    index = chosen(entry < leave)
    if index.numel() == 0:
        return free
    body, start, way = body.at(index), start.at(index), way.at(index)
    t, leave = entry[index], leave[index]
    light = torch.ones_like(t)
    for _ in range(steps):
        d = body.distance(start.along(way, t))
        light = torch.minimum(light, torch.where(t < leave, 0.5 + 5.0 * d / t, 1.0))
        t = t + d.clamp(0.03, 0.25)
    light = light.clamp(0.0, 1.0)
    return free.index_copy_(0, index, light * light * (3.0 - 2.0 * light))
