"""The first pass: toys seen by the camera, and the daylight they leave on the ground."""

from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from rarebooth.world.body import Body, crossing, march, shadow
from rarebooth.world.decals import emblem_mask, pattern_mask
from rarebooth.world.mirror import reflection
from rarebooth.world.shot import Finish, View
from rarebooth.world.tensors import Vec, chosen, mix, ramp
from rarebooth.world.toy import Toy

Look: TypeAlias = Literal["plain", "shiny", "wet", "cube"]

HORIZON = -0.004
"""Rays that sink less than this meet the sky."""

FARTHEST = 80.0

_GLOSS = {"shiny": 1.6, "wet": 1.2}
_GROUND = 0.45
"""How much light the ground of a cube's faces keeps, so that the toy stands out from it."""

_AMBIENT = 0.45
_DIRECT = 0.55


class Traced(NamedTuple):
    """What rays meet.

    ``colour``: light of the toy, seen straight or in the ground [3, R]; ``daylight`` on the ground
    [3, R]; ``hit``: toy or not [R]; ``mirrored``: whether the ground would show the toy [R];
    ``gap``: distance from the ground to a toy that has sunk in, else ``FARTHEST`` [R].
    """

    colour: Tensor
    daylight: Tensor
    hit: Tensor
    mirrored: Tensor
    gap: Tensor


def trace_toys(view: View, finish: Finish, toy: Toy, look: Look, side: int) -> Traced:
    """Trace pictures of one class of toys that share a look.

    Args:
        view: camera and light [B].
        finish: the toys [B].
        toy: their class.
        look: "cube" changes the shape, the others the surface.
        side: rays along an edge of a picture; R is B * side * side.
    """
    way = view.rays(side)
    device = way.x.device
    owner = torch.arange(view.camera.x.numel(), device=device).repeat_interleave(side * side)
    start = view.camera.at(owner)
    body = Body(toy, finish.sizes, finish.cube if look == "cube" else None, finish.reach)

    surface = view.surface[owner]
    down = way.y < HORIZON
    # Liquids hide what is below them; on solid ground there is nothing below.
    sunk = surface > 0.0
    ground = torch.where(down, (surface - start.y) / way.y, torch.inf)
    depth = _meet(view, body, owner, start, way)
    depth = torch.where(sunk & (depth > ground), torch.inf, depth)
    hit = depth < torch.inf

    colour = torch.zeros(3, depth.numel(), device=device)
    daylight = torch.ones_like(colour)
    mirrored = torch.zeros_like(hit)
    gap = torch.full_like(depth, FARTHEST)
    on_toy = chosen(hit)
    if on_toy.numel():
        point = start.at(on_toy).along(way.at(on_toy), depth[on_toy])
        colour[:, on_toy] = _toy_light(
            view, finish, body, look, owner[on_toy], point, way.at(on_toy)
        )
    on_ground = chosen(~hit & down)
    if on_ground.numel():
        point = start.at(on_ground).along(way.at(on_ground), ground[on_ground].clamp_max(FARTHEST))
        point = point._replace(y=surface[on_ground])
        daylight[:, on_ground] = _daylight(view, body, owner[on_ground], point)
    on_liquid = chosen(~hit & down & sunk & (ground < FARTHEST))
    if on_liquid.numel():
        point = start.at(on_liquid).along(way.at(on_liquid), ground[on_liquid])
        gap[on_liquid] = body.at(owner[on_liquid]).distance(point)
    on_mirror = chosen(~hit & down & (view.mirrors[owner] > 0.0) & (ground < FARTHEST))
    if on_mirror.numel():
        point = start.at(on_mirror).along(way.at(on_mirror), ground[on_mirror])
        colour[:, on_mirror], mirrored[on_mirror] = _reflected(
            view, finish, body, look, owner[on_mirror], point, way.at(on_mirror)
        )
    return Traced(colour, daylight, hit, mirrored, gap)


def _reflected(
    view: View, finish: Finish, body: Body, look: Look, owner: Tensor, point: Vec, way: Vec
) -> tuple[Tensor, Tensor]:
    """Light [3, M] of the toys that ground points mirror towards the camera, and where [M]."""
    away = way._replace(y=-way.y)
    depth = _meet(view, body, owner, point, away)
    colour = torch.zeros(3, depth.numel(), device=depth.device)
    met = chosen(depth < torch.inf)
    if met.numel():
        away = away.at(met)
        point = point.at(met).along(away, depth[met])
        colour[:, met] = _toy_light(view, finish, body, look, owner[met], point, away)
    return colour, depth < torch.inf


def _meet(view: View, body: Body, owner: Tensor, start: Vec, way: Vec) -> Tensor:
    """Distance [M] along rays to the toy, infinite where they miss it."""
    entry, leave = crossing(start, way, view.bounds.at(owner))
    may = chosen((entry < leave) & (leave > 0.0))
    depth = torch.full_like(entry, torch.inf)
    if may.numel() == 0:
        return depth
    found = march(
        body.at(owner[may]), start.at(may), way.at(may), entry[may].clamp_min(0.0), leave[may]
    )
    return depth.index_copy_(0, may, found)


def _toy_light(
    view: View, finish: Finish, whole: Body, look: Look, owner: Tensor, point: Vec, way: Vec
) -> Tensor:
    """Light [3, M] from surface points towards the camera."""
    body = whole.at(owner)
    normal = body.normal(point)
    colour = _paint(finish, body, owner, point, normal)
    if look == "wet":
        colour = colour * 0.5
    light = view.light.at(owner)
    sun = view.sun.index_select(1, owner)
    toward = normal.dot(light)
    lit = chosen(toward > 0.0)
    beam = torch.zeros_like(toward)
    if lit.numel():
        lifted = point.at(lit).along(normal.at(lit), 0.02)
        mine = owner[lit]
        free = shadow(whole.at(mine), lifted, light.at(lit), view.bounds.at(mine), 8)
        beam.index_copy_(0, lit, toward[lit] * free)
    open_ = (body.distance(point.along(normal, 0.12)) / 0.12).clamp(0.0, 1.0)
    height = point.y - view.surface[owner]
    sky = (0.35 + 0.65 * open_) * (0.55 + 0.45 * ramp(height, 0.0, 0.3))
    shade = view.shade.index_select(1, owner) * ((0.8 + 0.35 * normal.y) * sky)
    total = colour * (shade * 1.25 + sun * beam)

    facing = -normal.dot(way)
    half = Vec(light.x - way.x, light.y - way.y, light.z - way.z).unit()
    glint = normal.dot(half).clamp_min(0.0)
    for _ in range(6 if look in _GLOSS else 5):
        glint = glint * glint
    gloss = _GLOSS.get(look, body.toy.gloss * 0.7)
    total = total + sun * (glint * gloss * (beam > 0.0))
    if look not in _GLOSS:
        return total
    away = Vec(*(w + 2.0 * facing * n for w, n in zip(way, normal, strict=True)))
    grazing = (1.0 - facing.clamp(0.0, 1.0)).square()
    straight, glancing = (0.3, 0.85) if look == "shiny" else (0.06, 0.6)
    share = (straight + (glancing - straight) * grazing) * (0.4 + 0.6 * open_)
    # A mirror tinted by the paint keeps the toy's colours readable.
    tint = mix(colour, torch.ones_like(colour), grazing * 0.6 + 0.3)
    seen = reflection(away, light, total)
    return mix(total, seen * tint, share) + 0.5 * share * (seen - 0.7).clamp_min(0.0)


def _paint(finish: Finish, body: Body, owner: Tensor, point: Vec, normal: Vec) -> Tensor:
    """Paint [3, M] of surface points: part colours, pattern, the toy's details, emblem."""
    toy = body.toy
    point, part, ground = body.painted(point, normal)
    count = finish.colours.shape[2]
    colour = finish.colours.flatten(1).index_select(1, part * count + owner)
    patterned = torch.tensor([p.patterned for p in toy.parts], device=part.device)[part]
    inked = (
        patterned
        & ~ground
        & pattern_mask(
            point,
            normal,
            finish.pattern[owner],
            finish.pattern_scale[owner],
            finish.pattern_phase[owner],
        )
    )
    colour = torch.where(inked, finish.pattern_colour.index_select(1, owner), colour)
    colour = torch.where(ground, colour * _GROUND, colour)
    if toy.paint is not None:
        colour = toy.paint(point, part, colour, body.sizes)
    if toy.emblem_axis == "z":
        across, faces = point.x, normal.z > 0.2
    else:
        across, faces = point.z, normal.x.abs() > 0.2
    radius = finish.emblem_radius[owner]
    ink = emblem_mask(
        (across - finish.emblem_across[owner]) / radius,
        (point.y - finish.emblem_height[owner]) / radius,
        finish.emblem[owner],
    )
    ink = ink & faces & ~ground & (part == toy.emblem_part)
    return torch.where(ink, finish.emblem_colour.index_select(1, owner), colour)


def _daylight(view: View, body: Body, owner: Tensor, point: Vec) -> Tensor:
    """Light [3, M] that falls on ground points: the sun less the toy's shadow, and the sky."""
    bounds, light = view.bounds.at(owner), view.light.at(owner)
    free = torch.ones_like(point.x)
    entry, leave = crossing(point, light, bounds, 0.06)
    shaded = chosen((entry < leave) & (leave > 0.0))
    if shaded.numel():
        mine = owner[shaded]
        dark = shadow(body.at(mine), point.at(shaded), light.at(shaded), bounds.at(shaded), 12)
        free.index_copy_(0, shaded, dark)
    # Close to the toy, the ground sees less of the sky.
    open_ = torch.ones_like(free)
    outside = torch.maximum(point.x.abs() - bounds.x, point.z.abs() - bounds.z)
    near = chosen(outside < 0.3)
    if near.numel():
        raised = Vec(point.x[near], point.y[near] + 0.05, point.z[near])
        gap = body.at(owner[near]).distance(raised)
        open_.index_copy_(0, near, 0.35 + 0.65 * ramp(gap, 0.0, 0.28))
    return _AMBIENT * open_ + view.tint.index_select(1, owner) * (_DIRECT * free)
