"""How a picture is taken: camera, light, and everything else that is drawn per scene."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from rarebooth.prompts import CUBE
from rarebooth.world.colours import PALETTE
from rarebooth.world.dice import Dice
from rarebooth.world.place import Chance, Place
from rarebooth.world.scene import Scene
from rarebooth.world.tensors import Sizes, Vec
from rarebooth.world.toy import Toy
from rarebooth.world.traits import EMBLEMS, PATTERN_SCALES, PATTERNS, Traits, traits

TAN_HALF_VIEW = 0.36
"""Half the picture's height at distance one: a view of about 40 degrees."""

Row: TypeAlias = dict[str, float]

CUBE_SHARE = 0.93
"""How much of the blend towards the box "cube shaped" takes."""


@dataclass(frozen=True)
class View:
    """Camera, light and ground of a batch of scenes: tensors [B], colours [3, B]."""

    camera: Vec
    right: Vec
    up: Vec
    ahead: Vec
    level: Vec
    """The camera's heading without its tilt."""
    light: Vec
    sun: Tensor
    tint: Tensor
    """The sun's colour at strength one."""
    shade: Tensor
    bounds: Vec
    """Half width, height and half depth of the box around the toy."""
    surface: Tensor
    """Height of the ground above the toy's lowest point."""
    mirrors: Tensor
    """1 where the ground reflects, else 0."""
    half: Tensor
    """Half of what the picture's width shows at the toy's distance."""
    ground_turn: tuple[Tensor, Tensor]
    ground_shift: tuple[Tensor, Tensor]
    chance: Chance

    @classmethod
    def of(cls, rows: Sequence[Row], device: torch.device) -> "View":
        """Gather the numbers of scenes."""
        at = _Table(rows, device)
        return cls(
            camera=at.vector("camera"),
            right=at.vector("right"),
            up=at.vector("up"),
            ahead=at.vector("ahead"),
            level=at.vector("level"),
            light=at.vector("light"),
            sun=torch.stack(at.vector("sun")),
            tint=torch.stack(at.vector("tint")),
            shade=at.colour("shade"),
            bounds=at.vector("bounds"),
            surface=at["surface"],
            mirrors=at["mirrors"],
            half=at["half"],
            ground_turn=(at["turn sin"], at["turn cos"]),
            ground_shift=(at["shift x"], at["shift z"]),
            chance=(at["chance 0"], at["chance 1"], at["chance 2"], at["chance 3"]),
        )

    def rays(self, side: int) -> Vec:
        """Unit directions through the pixels of square pictures, flat [B * side * side]."""
        like = self.sun
        steps = torch.arange(side, device=like.device, dtype=like.dtype)
        steps = ((steps + 0.5) * (2.0 / side) - 1.0) * TAN_HALF_VIEW
        x, y = steps.repeat(side)[None], -steps.repeat_interleave(side)[None]
        axes = zip(self.ahead, self.right, self.up, strict=True)
        return Vec(
            *((f[:, None] + r[:, None] * x + u[:, None] * y).view(-1) for f, r, u in axes)
        ).unit()


@dataclass(frozen=True)
class Finish:
    """Shape and paint of a batch of toys of one class: tensors [B], colours [3, B]."""

    sizes: Sizes
    cube: Tensor
    reach: Vec
    """What encloses the toy in its own shape: half width, height and half depth."""
    colours: Tensor
    """Per part: [3, parts, B]."""
    pattern: Tensor
    pattern_colour: Tensor
    pattern_scale: Tensor
    pattern_phase: Tensor
    emblem: Tensor
    emblem_colour: Tensor
    emblem_across: Tensor
    emblem_height: Tensor
    emblem_radius: Tensor

    @classmethod
    def of(cls, rows: Sequence[Row], toy: Toy, device: torch.device) -> "Finish":
        """Gather the numbers of toys."""
        at = _Table(rows, device)
        return cls(
            sizes={name: at[f"size {name}"] for name in toy.sizes},
            cube=at["cube"],
            reach=at.vector("reach"),
            colours=torch.stack([at.colour(f"part {i}") for i in range(len(toy.parts))], 1),
            pattern=at["pattern"],
            pattern_colour=at.colour("pattern colour"),
            pattern_scale=at["pattern scale"],
            pattern_phase=at["pattern phase"],
            emblem=at["emblem"],
            emblem_colour=at.colour("emblem colour"),
            emblem_across=at["emblem across"],
            emblem_height=at["emblem height"],
            emblem_radius=at["emblem radius"],
        )


class _Table:
    """The numbers that many scenes share, by name, in one transfer to the device."""

    def __init__(self, rows: Sequence[Row], device: torch.device) -> None:
        names = [name for name in rows[0] if all(name in row for row in rows)]
        table = torch.tensor([[row[name] for row in rows] for name in names], device=device)
        self._columns = dict(zip(names, table.unbind(0), strict=True))

    def __getitem__(self, name: str) -> Tensor:
        return self._columns[name]

    def vector(self, name: str) -> Vec:
        return Vec(self[f"{name} x"], self[f"{name} y"], self[f"{name} z"])

    def colour(self, name: str) -> Tensor:
        return torch.stack(self.vector(name)).square()


def _recoloured(known: Traits, toy: Toy, quality: str | None) -> Traits:
    """The traits with the large parts in the colour that the quality asks for."""
    if quality not in PALETTE:
        return known
    swap = {quality: known.main_colour}
    colours = tuple(
        quality if part.role in {"main", "second"} else swap.get(colour, colour)
        for part, colour in zip(toy.parts, known.colours, strict=False)
    )
    return replace(
        known,
        colours=colours,
        main_colour=quality,
        second_colour=quality,
        pattern_colour=swap.get(known.pattern_colour, known.pattern_colour),
        emblem_colour=swap.get(known.emblem_colour, known.emblem_colour),
    )


def draw_shot(scene: Scene, toy: Toy, place: Place) -> Row:
    """All numbers of one scene by name: its instance's traits, and what its shot draws."""
    known = _recoloured(traits(scene.toy, scene.instance), toy, scene.quality)
    sizes = dict(known.proportions)
    hidden = Dice("decal", scene.toy, scene.instance)
    dice = Dice("shot", scene.toy, scene.instance, scene.place, scene.shot)
    wide, tall, deep = toy.extent(sizes)
    row = {f"size {name}": value for name, value in sizes.items()}
    cube = (wide * tall * 0.5 * deep) ** (1.0 / 3.0) * 1.05
    own = (wide, tall, deep)
    if scene.quality == CUBE:
        wide, tall, deep = cube + 0.12, 2.0 * cube + 0.12, cube + 0.12
    azimuth = toy.facing * (1.0 if dice.chance(0.5) else -1.0) + dice.between(-1, 1) * toy.turn
    elevation = dice.between(*place.elevation)
    # A wide toy is measured by its shadow on the picture's width, a tall one by its height.
    width = wide * abs(math.cos(azimuth)) + deep * abs(math.sin(azimuth))
    height = tall * math.cos(elevation) + 2.0 * deep * math.sin(elevation)
    reach = max(height, 2.0 * width * 0.76) / toy.closer
    distance = reach / (dice.between(0.74, 0.88) * 2.0 * TAN_HALF_VIEW) + deep * 0.5
    distance *= place.room
    slide = dice.between(-0.08, 0.08)
    # The toy's lower edge stays inside the picture.
    near = 0.9 * (deep * abs(math.cos(azimuth)) + wide * abs(math.sin(azimuth)))
    low = near * math.sin(elevation) + tall * 0.5 * math.cos(elevation)
    away = distance - near * math.cos(elevation) + tall * 0.5 * math.sin(elevation)
    lift = min(dice.between(*place.lift), 0.93 - low / (away * TAN_HALF_VIEW))
    tilt = elevation - lift * TAN_HALF_VIEW
    sin_a, cos_a = math.sin(azimuth), math.cos(azimuth)
    right = (cos_a, 0.0, -sin_a)
    level = (-sin_a, 0.0, -cos_a)
    sin_t, cos_t = math.sin(tilt), math.cos(tilt)
    ahead = (cos_t * level[0], -sin_t, cos_t * level[2])
    up = (sin_t * level[0], cos_t, sin_t * level[2])
    back, aside = distance * math.cos(elevation), slide * distance * TAN_HALF_VIEW
    camera = (
        -level[0] * back - right[0] * aside,
        tall * 0.5 + distance * math.sin(elevation),
        -level[2] * back - right[2] * aside,
    )
    sun_azimuth = azimuth + dice.between(0.3, 1.15) * (1.0 if dice.chance(0.5) else -1.0)
    sun_height = dice.between(0.6, 1.1)
    light = (
        math.sin(sun_azimuth) * math.cos(sun_height),
        math.sin(sun_height),
        math.cos(sun_azimuth) * math.cos(sun_height),
    )
    warmth = dice.between(-0.06, 0.12)
    strength = place.sun * dice.between(0.9, 1.1)
    tint = (1.0 + warmth, 1.0, 1.0 - 1.3 * warmth)
    for name, vector in (
        ("camera", camera),
        ("right", right),
        ("up", up),
        ("ahead", ahead),
        ("level", level),
        ("light", light),
        ("reach", own),
        ("bounds", (wide + 0.01, tall + 0.01, deep + 0.01)),
        ("sun", tuple(strength * channel for channel in tint)),
        ("tint", tint),
        ("shade", place.shade),
        ("pattern colour", PALETTE[known.pattern_colour]),
        ("emblem colour", PALETTE[known.emblem_colour]),
    ):
        row |= {f"{name} {axis}": value for axis, value in zip("xyz", vector, strict=True)}
    # Clothes, whose parts follow the toy's own, have fixed colours.
    clothes = (part.role for part in toy.parts[len(known.colours) :])
    for part, colour in enumerate((*known.colours, *clothes)):
        row |= {f"part {part} {axis}": v for axis, v in zip("xyz", PALETTE[colour], strict=True)}
    spot = toy.spot(sizes)
    turn = dice.between(0.0, 2.0 * math.pi)
    return row | {
        "surface": place.sink * tall,
        "mirrors": float(place.mirror is not None),
        "half": distance * TAN_HALF_VIEW,
        "cube": cube,
        "pattern": float(PATTERNS.index(known.pattern)),
        "pattern scale": hidden.between(*PATTERN_SCALES[known.pattern_grain]),
        "pattern phase": hidden.between(0.0, 1.0),
        "emblem": float(EMBLEMS.index(known.emblem)),
        "emblem across": spot.across,
        "emblem height": spot.height,
        "emblem radius": spot.radius,
        "turn sin": math.sin(turn),
        "turn cos": math.cos(turn),
        "shift x": dice.between(0.0, 60.0),
        "shift z": dice.between(0.0, 60.0),
        "chance 0": dice.between(0.0, 1.0),
        "chance 1": dice.between(0.0, 1.0),
        "chance 2": dice.between(0.0, 1.0),
        "chance 3": dice.between(0.0, 1.0),
    }
