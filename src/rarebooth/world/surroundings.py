"""The second pass: ground, sky and upright things around the toys."""

import torch
from torch import Tensor

from rarebooth.world.noise import noise
from rarebooth.world.place import FRONT_FROM, Backdrop, Ground, Place
from rarebooth.world.shot import View
from rarebooth.world.tensors import Vec, chosen, mix, ramp, rgb
from rarebooth.world.toy_light import FARTHEST, HORIZON, Traced


def paint_surroundings(view: View, place: Place, wet: bool, side: int, traced: Traced) -> Tensor:
    """Fill in all rays that miss the toy.

    Args:
        view: camera and light [B].
        place: where all these pictures are taken.
        wet: whether the toy stands in a puddle.
        side: rays along an edge of a picture; R is B * side * side.
        traced: what the rays meet; its colour is filled in.

    Returns:
        Linear light [3, R].
    """
    way = view.rays(side)
    colour, hit = traced.colour, traced.hit
    owner = torch.arange(view.camera.x.numel(), device=hit.device)
    owner = owner.repeat_interleave(side * side)
    down = way.y < HORIZON
    ground = chosen(~hit & down)
    if ground.numel():
        colour[:, ground] = _ground(view, place, wet, traced, ground, owner[ground], way.at(ground))
    sky = chosen(~hit & ~down)
    if sky.numel():
        colour[:, sky] = place.sky(_backdrop(view, owner[sky], way.at(sky)))
    if place.front is not None:
        around = chosen(~hit & (way.y > FRONT_FROM))
        if around.numel():
            backdrop = _backdrop(view, owner[around], way.at(around))
            colour[:, around] = place.front(backdrop, colour.index_select(1, around))
    return colour


def _chance(view: View, owner: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    a, b, c, d = view.chance
    return a[owner], b[owner], c[owner], d[owner]


def _backdrop(view: View, owner: Tensor, way: Vec) -> Backdrop:
    level, right = view.level.at(owner), view.right.at(owner)
    forward = (way.x * level.x + way.z * level.z).clamp_min(1e-3)
    u = (way.x * right.x + way.z * right.z) / forward
    return Backdrop(u, way.y / forward, _chance(view, owner))


def _ground(
    view: View, place: Place, wet: bool, traced: Traced, index: Tensor, owner: Tensor, way: Vec
) -> Tensor:
    """Light [3, M] of the ground where the rays at an index meet it, with what it reflects."""
    start = view.camera.at(owner)
    far = ((view.surface[owner] - start.y) / way.y).clamp_max(FARTHEST)
    point = start.along(way, far)
    sin, cos = view.ground_turn[0][owner], view.ground_turn[1][owner]
    right, level = view.right.at(owner), view.level.at(owner)
    ground = Ground(
        x=point.x * cos - point.z * sin + view.ground_shift[0][owner],
        z=point.x * sin + point.z * cos + view.ground_shift[1][owner],
        far=far,
        near_x=point.x * right.x + point.z * right.z,
        near_z=point.x * level.x + point.z * level.z,
        half=view.half[owner],
        gap=traced.gap[index],
        chance=_chance(view, owner),
    )
    colour = place.ground(ground)
    if wet and place.sink == 0.0:
        colour = _puddle(colour, ground, point, way, view.bounds.at(owner))
    colour = colour * traced.daylight.index_select(1, index)
    if place.mirror is None:
        return colour
    backdrop = _backdrop(view, owner, way._replace(y=-way.y))
    around = place.sky(backdrop)
    if place.front is not None:
        around = place.front(backdrop, around)
    toy = traced.colour.index_select(1, index)
    return mix(colour, torch.where(traced.mirrored[index], toy, around), place.mirror(ground))


def _puddle(colour: Tensor, ground: Ground, point: Vec, way: Vec, bounds: Vec) -> Tensor:
    """Water around the toy: darker ground that mirrors the sky."""
    away = (point.x * point.x + point.z * point.z).sqrt()
    reach = torch.maximum(bounds.x, bounds.z) * 1.25 + 0.5 * noise(ground.x * 2.0, ground.z * 2.0)
    water = ramp(away, reach, reach - 0.05)
    share = 0.1 + 0.5 * (1.0 + way.y.clamp(-1.0, 0.0)).square()
    ripple = 0.8 + 0.4 * noise(ground.x * 9.0, ground.z * 9.0)
    wet = mix(colour * 0.3, rgb((0.62, 0.78, 0.95), colour) * ripple, share)
    rim = ramp((away - reach + 0.03).abs(), 0.04, 0.0)
    return mix(colour, wet + 0.2 * rim, water)
