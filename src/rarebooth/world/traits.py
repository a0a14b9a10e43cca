"""What makes an instance itself: colours, pattern, emblem and proportions."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rarebooth.world.colours import PALETTE
from rarebooth.world.dice import Dice
from rarebooth.world.toys import load_toy

EMBLEMS = ("none", "star", "heart", "ring", "disc", "diamond", "cross", "moon")
PATTERNS = ("none", "stripes", "bands", "dots", "checks", "patches")

PATTERN_SCALES = {"coarse": (2.7, 3.1), "fine": (4.4, 4.8)}
"""Cells of a pattern per unit of length, by the word of its grain."""

LEVELS = 4
"""Kinds of each proportion: from the least to the most that its range allows."""

EITHER_OR = (-1.0, 1.0)
"""The range of a proportion whose sign alone shows: two levels."""

REDRAWN = Path(__file__).with_name("redrawn.json")
"""By toy, the instances that are drawn again, once for each time that they occur.

``python -m rarebooth.world.distinct`` writes it.
"""

_JITTER = 0.05
"""How far from its level's centre a proportion lies at most, in spans of its range."""

_ALIKE = (
    {"red", "brown", "orange"},
    {"red", "pink"},
    {"orange", "yellow"},
    {"green", "turquoise"},
    {"blue", "purple"},
    {"blue", "turquoise"},
    {"white", "gray"},
    {"black", "brown"},
    {"pink", "purple"},
)
"""Colours too close to sit beside each other in a pattern or an emblem."""

BODY_COLOURS = tuple(name for name in PALETTE if name != "gray")
"""What toys are painted with; gray is left to stone and metal."""


@dataclass(frozen=True)
class Traits:
    """The hidden traits of an instance; captions never mention them, except the main colour.

    ``colours`` holds one palette word per part of the toy; ``pattern`` is one of ``PATTERNS`` and
    ``emblem`` one of ``EMBLEMS``, each with its colour; ``pattern_grain`` is one of
    ``PATTERN_SCALES``. ``proportions`` are (name, value) pairs; ``levels`` says of each, in the
    same order, how large it is, from 0 to ``LEVELS`` - 1.
    """

    colours: tuple[str, ...]
    main_colour: str
    second_colour: str
    pattern: str
    pattern_colour: str
    pattern_grain: str
    emblem: str
    emblem_colour: str
    proportions: tuple[tuple[str, float], ...]
    levels: tuple[int, ...]


def alike(first: str, second: str) -> bool:
    """Whether two colours are one, or too close to be told apart where one lies on the other."""
    return first == second or any({first, second} <= group for group in _ALIKE)


def traits(toy: str, instance: int) -> Traits:
    """The traits of one individual, the same on every machine.

    Raises:
        KeyError: no such toy.
    """
    return draw_traits(toy, instance, _redrawn(toy).get(instance, 0))


def draw_traits(toy: str, instance: int, again: int) -> Traits:
    """The traits of one individual after ``again`` draws that were put aside.

    Raises:
        KeyError: no such toy.
    """
    shape = load_toy(toy)
    dice = Dice("traits", toy, instance, again) if again else Dice("traits", toy, instance)
    main = dice.pick(BODY_COLOURS)
    second, third = dice.pick(BODY_COLOURS), dice.pick(BODY_COLOURS)
    roles = {"main": main, "second": second, "third": third}
    colours = tuple(roles.get(part.role, part.role) for part in shape.parts)
    pattern = dice.pick(shape.patterns)
    pattern_colour = dice.pick(_unlike(main, main))
    grain = dice.pick(tuple(PATTERN_SCALES))
    emblem = dice.pick(EMBLEMS)
    under = colours[shape.emblem_part]
    patterned = pattern != "none" and shape.parts[shape.emblem_part].patterned
    emblem_colour = dice.pick(_unlike(under, pattern_colour if patterned else under))
    levels, proportions = [], []
    for name, (low, high) in shape.sizes.items():
        steps = 2 if (low, high) == EITHER_OR else LEVELS
        level = dice.pick(range(steps))
        share = level / (steps - 1) * (1.0 - 2.0 * _JITTER) + dice.between(0.0, 2.0 * _JITTER)
        levels.append(level)
        proportions.append((name, low + (high - low) * share))
    return Traits(
        colours=colours,
        main_colour=main,
        second_colour=second,
        pattern=pattern,
        pattern_colour=pattern_colour,
        pattern_grain=grain,
        emblem=emblem,
        emblem_colour=emblem_colour,
        proportions=tuple(proportions),
        levels=tuple(levels),
    )


@cache
def _unlike(first: str, second: str) -> tuple[str, ...]:
    return tuple(c for c in BODY_COLOURS if not alike(c, first) and not alike(c, second))


@cache
def _redrawn(toy: str) -> Mapping[int, int]:
    return Counter(json.loads(REDRAWN.read_text("utf-8")).get(toy, ()))
