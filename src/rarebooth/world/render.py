"""Photographs of the miniature world: sphere tracing in batched tensor operations.

Distances are followed as in Hart, "Sphere tracing", The Visual Computer 12 (1996).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rarebooth.world.decals import emblem_mask, pattern_mask
from rarebooth.world.noise import noise
from rarebooth.world.places import load_place
from rarebooth.world.places.place import FRONT_FROM, Backdrop, Ground, Place
from rarebooth.world.scene import Scene
from rarebooth.world.shot import CUBE, TAN_HALF_VIEW, Shots, shots
from rarebooth.world.solid_body import Body, crossing, march, shadow
from rarebooth.world.tensors import Vec, chosen, mix, ramp, rgb
from rarebooth.world.toys import load_toy
from rarebooth.world.toys.toy import Toy

QUALITIES = ("red", "purple", "shiny", "wet", CUBE)
"""DreamBench's property prompts that the world can show."""

_CHUNK_PIXELS = 16 * 96 * 96
_HORIZON = -0.004


class Pictures(NamedTuple):
    """Rendered scenes: ``images`` uint8 [N, size, size, 3], ``masks`` bool [N, size, size]."""

    images: Tensor
    masks: Tensor


@torch.no_grad()
def render(
    scenes: Sequence[Scene], size: int = 64, device: torch.device | str = "cpu"
) -> Pictures:
    """Photograph scenes, in the order given; a picture depends on its own scene alone.

    Args:
        scenes: what to photograph.
        size: edge of the pictures in pixels, even.
        device: where to compute; the pictures stay there.

    Raises:
        KeyError: a toy or place that does not exist.
        ValueError: an odd size or an unknown quality.
    """
    if size % 2:
        raise ValueError(f"size is {size}, but must be even")
    for scene in scenes:
        if scene.quality is not None and scene.quality not in QUALITIES:
            raise ValueError(f"quality {scene.quality!r} is none of {', '.join(QUALITIES)}")
    device = torch.device(device)
    images = torch.zeros(len(scenes), size, size, 3, dtype=torch.uint8, device=device)
    masks = torch.zeros(len(scenes), size, size, dtype=torch.bool, device=device)
    groups: dict[tuple[str, str, str], list[int]] = {}
    for number, scene in enumerate(scenes):
        look = scene.quality if scene.quality in {"shiny", "wet", CUBE} else ""
        groups.setdefault((scene.toy, scene.place, look), []).append(number)
    traced = size * 3 // 2
    at_once = max(1, _CHUNK_PIXELS // (traced * traced)) * (1 if device.type == "cpu" else 16)
    for (toy, place, look), numbers in groups.items():
        for first in range(0, len(numbers), at_once):
            part = numbers[first : first + at_once]
            chunk = shots([scenes[n] for n in part], load_toy(toy), load_place(place), device)
            colour, hit = _trace(chunk, load_toy(toy), load_place(place), look, traced)
            index = torch.tensor(part, device=device)
            images[index] = _shrink(colour).mul(255.0).round().to(torch.uint8).permute(1, 2, 3, 0)
            masks[index] = _shrink(hit[None].to(colour.dtype))[0] > 0.5
    return Pictures(images, masks)


def _shrink(field: Tensor) -> Tensor:
    """Average [C, B, S, S] over areas of 1.5 x 1.5 pixels."""
    for dim in (2, 3):
        a, b, c = field.unflatten(dim, (-1, 3)).unbind(dim + 1)
        field = torch.stack([(2 * a + b) / 3, (b + 2 * c) / 3], dim + 1).flatten(dim, dim + 1)
    return field


def _trace(s: Shots, toy: Toy, place: Place, look: str, side: int) -> tuple[Tensor, Tensor]:
    """Display colour [3, B, side, side] and what is toy [B, side, side]."""
    count = s.emblem.numel()
    device = s.emblem.device
    steps = (torch.arange(side, device=device, dtype=torch.float32) + 0.5) * (2.0 / side) - 1.0
    x = (steps * TAN_HALF_VIEW).repeat(side)[None]
    y = (steps * -TAN_HALF_VIEW).repeat_interleave(side)[None]
    way = Vec(
        *(
            (f[:, None] + r[:, None] * x + u[:, None] * y).reshape(-1)
            for f, r, u in zip(s.ahead, s.right, s.up, strict=True)
        )
    ).unit()
    owner = torch.arange(count, device=device).repeat_interleave(side * side)
    start = s.camera.at(owner)
    body = Body(toy, s.sizes, s.cube if look == CUBE else None)

    entry, leave = crossing(start, way, s.bounds.at(owner))
    may = chosen(entry < leave)
    mine = owner[may]
    found = march(
        body.at(mine), start.at(may), way.at(may), entry[may].clamp_min(0.0), leave[may]
    )
    depth = torch.full_like(entry, torch.inf).index_copy_(0, may, found)

    colour = torch.zeros(3, way.x.numel(), device=device)
    hit = depth < torch.inf
    on_toy = chosen(hit)
    if on_toy.numel():
        mine = owner[on_toy]
        point = start.at(on_toy).along(way.at(on_toy), depth[on_toy])
        colour[:, on_toy] = _toy_light(s, body, place, look, mine, point, way.at(on_toy))
    down = ~hit & (way.y < _HORIZON)
    on_ground = chosen(down)
    if on_ground.numel():
        mine = owner[on_ground]
        colour[:, on_ground] = _ground_light(
            s, body, place, look, mine, start.at(on_ground), way.at(on_ground)
        )
    in_sky = chosen(~hit & ~down)
    if in_sky.numel():
        colour[:, in_sky] = place.sky(_backdrop(s, owner[in_sky], way.at(in_sky)))
    if place.front is not None:
        around = chosen(~hit & (way.y > FRONT_FROM))
        if around.numel():
            view = _backdrop(s, owner[around], way.at(around))
            colour[:, around] = place.front(view, colour[:, around])
    shape = (count, side, side)
    return colour.clamp(0.0, 1.0).sqrt().reshape(3, *shape), hit.reshape(shape)


def _backdrop(s: Shots, owner: Tensor, way: Vec) -> Backdrop:
    level, right = s.level.at(owner), s.right.at(owner)
    forward = (way.x * level.x + way.z * level.z).clamp_min(1e-3)
    u = (way.x * right.x + way.z * right.z) / forward
    c0, c1, c2, c3 = (c[owner] for c in s.chance)
    return Backdrop(u, way.y / forward, (c0, c1, c2, c3))


def _albedo(
    s: Shots, body: Body, owner: Tensor, point: Vec, normal: Vec
) -> tuple[Tensor, Tensor]:
    """Paint [3, M] and part index [M] of surface points."""
    toy = body.toy
    part = body.part(point)
    parts, count = s.colours.shape[0], s.colours.shape[2]
    table = s.colours.permute(1, 0, 2).reshape(3, parts * count)
    colour = table.index_select(1, part * count + owner)
    patterned = torch.tensor([p.patterned for p in toy.parts], device=part.device)[part]
    inked = patterned & pattern_mask(
        point, normal, s.pattern[owner], s.pattern_scale[owner], s.pattern_phase[owner]
    )
    colour = torch.where(inked, s.pattern_colour.index_select(1, owner), colour)
    if toy.paint is not None:
        colour = toy.paint(point, part, colour, body.sizes)
    if toy.emblem_axis == "z":
        across, faces = point.x, normal.z > 0.2
    else:
        across, faces = point.z, normal.x.abs() > 0.2
    radius = s.emblem_radius[owner]
    ink = emblem_mask(
        (across - s.emblem_across[owner]) / radius,
        (point.y - s.emblem_height[owner]) / radius,
        s.emblem[owner],
    )
    ink = ink & faces & (part == toy.emblem_part)
    return torch.where(ink, s.emblem_colour.index_select(1, owner), colour), part


def _surroundings(way: Vec, light: Vec, like: Tensor) -> Tensor:
    """What a mirror sees: bright sky, dark horizon, ground, and a large lamp."""
    sky = mix(rgb((0.95, 0.96, 1.0), like), rgb((0.4, 0.6, 0.9), like), ramp(way.y, 0.1, 0.9))
    floor = mix(rgb((0.16, 0.14, 0.13), like), rgb((0.5, 0.47, 0.43), like), ramp(-way.y, 0.0, 0.7))
    seen = mix(floor, sky, ramp(way.y, -0.02, 0.06))
    return seen + 1.6 * ramp(way.dot(light), 0.9, 0.95)


def _toy_light(
    s: Shots, body: Body, place: Place, look: str, owner: Tensor, point: Vec, way: Vec
) -> Tensor:
    """Light [3, M] from surface points towards the camera."""
    own = body.at(owner)
    normal = own.normal(point)
    colour, _ = _albedo(s, own, owner, point, normal)
    light = s.light.at(owner)
    sun = s.sun.index_select(1, owner)
    toward = normal.dot(light)
    lit = chosen(toward > 0.0)
    beam = torch.zeros_like(toward)
    if lit.numel():
        lifted = point.at(lit).along(normal.at(lit), 0.02)
        mine = owner[lit]
        free = shadow(body.at(mine), lifted, light.at(lit), s.bounds.at(mine), 8)
        beam.index_copy_(0, lit, toward[lit] * free)
    nearness = own.distance(point.along(normal, 0.12)) / 0.12
    open_sky = (0.35 + 0.65 * nearness.clamp(0.0, 1.0)) * (0.55 + 0.45 * ramp(point.y, 0.0, 0.3))
    shade = rgb(place.shade, colour) * (0.8 + 0.35 * normal.y) * open_sky
    if look == "wet":
        colour = colour * 0.5
    total = colour * (shade * 1.25 + sun * beam)

    facing = -normal.dot(way)
    half = Vec(light.x - way.x, light.y - way.y, light.z - way.z).unit()
    glint = normal.dot(half).clamp_min(0.0)
    for _ in range(5 if look not in {"shiny", "wet"} else 6):
        glint = glint * glint
    strength = {"shiny": 1.6, "wet": 1.2}.get(look, own.toy.gloss * 0.7)
    total = total + sun * (glint * strength * (beam > 0.0))
    if look in {"shiny", "wet"}:
        mirror = Vec(*(w + 2.0 * facing * n for w, n in zip(way, normal, strict=True)))
        grazing = (1.0 - facing.clamp(0.0, 1.0)).square()
        straight, glancing = (0.3, 0.85) if look == "shiny" else (0.06, 0.6)
        share = (straight + (glancing - straight) * grazing) * (0.4 + 0.6 * nearness.clamp(0, 1))
        # A mirror tinted by the paint keeps the toy's colours readable.
        tint = mix(colour, torch.ones_like(colour), grazing * 0.6 + 0.3)
        seen = _surroundings(mirror, light, total)
        total = mix(total, seen * tint, share) + 0.5 * share * (seen - 0.7).clamp_min(0.0)
    return total


def _ground_light(
    s: Shots, body: Body, place: Place, look: str, owner: Tensor, start: Vec, way: Vec
) -> Tensor:
    """Light [3, M] from the ground along rays that look down."""
    far = -start.y / way.y
    far = far.clamp_max(80.0)
    point = start.along(way, far)
    sin, cos = s.ground_turn[0][owner], s.ground_turn[1][owner]
    right, level = s.right.at(owner), s.level.at(owner)
    c0, c1, c2, c3 = (c[owner] for c in s.chance)
    ground = Ground(
        x=point.x * cos - point.z * sin + s.ground_shift[0][owner],
        z=point.x * sin + point.z * cos + s.ground_shift[1][owner],
        far=far,
        near_x=point.x * right.x + point.z * right.z,
        near_z=point.x * level.x + point.z * level.z,
        chance=(c0, c1, c2, c3),
    )
    colour = place.ground(ground)
    bounds, light = s.bounds.at(owner), s.light.at(owner)
    point = Vec(point.x, torch.zeros_like(far), point.z)
    free = shadow_near(body, owner, point, light, bounds)
    # Close to the toy, the ground sees less of the sky.
    outside = torch.maximum(point.x.abs() - bounds.x, point.z.abs() - bounds.z)
    near = chosen(outside < 0.3)
    open_sky = torch.ones_like(far)
    if near.numel():
        raised = Vec(point.x[near], point.y[near] + 0.05, point.z[near])
        gap = body.at(owner[near]).distance(raised)
        open_sky.index_copy_(0, near, 0.35 + 0.65 * ramp(gap, 0.0, 0.28))
    if look == "wet":
        colour = _puddle(colour, ground, point, way, bounds)
    share = 0.55 * free
    tint = s.sun.index_select(1, owner) / place.sun
    return colour * (0.45 * open_sky + tint * share)


def shadow_near(body: Body, owner: Tensor, point: Vec, light: Vec, bounds: Vec) -> Tensor:
    """Sunlight on ground points: 0 in the toy's shadow, 1 in the open."""
    entry, leave = crossing(point, light, bounds, 0.06)
    may = chosen((entry < leave) & (leave > 0.0))
    free = torch.ones_like(entry)
    if may.numel() == 0:
        return free
    mine = owner[may]
    return free.index_copy_(
        0, may, shadow(body.at(mine), point.at(may), light.at(may), bounds.at(may), 12)
    )


def _puddle(
    colour: Tensor, ground: Ground, point: Vec, way: Vec, bounds: Vec
) -> Tensor:
    """Water around the toy: darker ground that mirrors the sky."""
    away = (point.x * point.x + point.z * point.z).sqrt()
    reach = torch.maximum(bounds.x, bounds.z) * 1.25 + 0.5 * noise(ground.x * 2.0, ground.z * 2.0)
    water = ramp(away, reach, reach - 0.05)
    mirror = Vec(way.x, -way.y, way.z)
    share = 0.1 + 0.5 * (1.0 - mirror.y.clamp(0.0, 1.0)).square()
    ripple = 0.8 + 0.4 * noise(ground.x * 9.0, ground.z * 9.0)
    wet = mix(colour * 0.3, rgb((0.62, 0.78, 0.95), colour) * ripple, share)
    rim = ramp((away - reach + 0.03).abs(), 0.04, 0.0)
    return mix(colour, wet + 0.2 * rim, water)
