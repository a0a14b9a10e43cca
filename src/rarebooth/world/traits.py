"""What makes an instance itself: colours, pattern, emblem and proportions."""

from dataclasses import dataclass

from rarebooth.world.colours import PALETTE
from rarebooth.world.dice import Dice
from rarebooth.world.toys import load_toy

EMBLEMS = ("none", "star", "heart", "ring", "disc", "diamond")
PATTERNS = ("none", "stripes", "bands", "dots", "checks", "patches")

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

_BODY_COLOURS = tuple(name for name in PALETTE if name != "gray")


@dataclass(frozen=True)
class Traits:
    """The hidden traits of an instance; captions never mention them, except the main colour.

    ``colours`` holds one palette word per part of the toy; ``pattern`` is one of ``PATTERNS`` and
    ``emblem`` one of ``EMBLEMS``, each with its colour; ``proportions`` are (name, value) pairs.
    """

    colours: tuple[str, ...]
    main_colour: str
    second_colour: str
    pattern: str
    pattern_colour: str
    emblem: str
    emblem_colour: str
    proportions: tuple[tuple[str, float], ...]


def _another(dice: Dice, *taken: str) -> str:
    avoid = set(taken)
    for group in _ALIKE:
        if group & set(taken):
            avoid |= group
    free = [name for name in _BODY_COLOURS if name not in avoid]
    return dice.pick(free or [name for name in _BODY_COLOURS if name not in taken])


def traits(toy: str, instance: int) -> Traits:
    """The traits of one individual, the same on every machine.

    Raises:
        KeyError: no such toy.
    """
    shape = load_toy(toy)
    dice = Dice("traits", toy, instance)
    main = dice.pick(_BODY_COLOURS)
    second = _another(dice, main)
    roles = {"main": main, "second": second, "third": _another(dice, main, second)}
    if dice.chance(0.45):
        roles["second"] = main
    colours = tuple(roles.get(part.role, part.role) for part in shape.parts)
    pattern = dice.pick(shape.patterns)
    pattern_colour = second if dice.chance(0.7) else _another(dice, main, second)
    emblem = dice.pick(EMBLEMS if dice.chance(0.7) else EMBLEMS[1:])
    proportions = tuple((name, dice.between(*span)) for name, span in shape.sizes.items())
    under = colours[shape.emblem_part]
    patterned = pattern != "none" and shape.parts[shape.emblem_part].patterned
    behind = pattern_colour if patterned else under
    return Traits(
        colours=colours,
        main_colour=main,
        second_colour=second,
        pattern=pattern,
        pattern_colour=pattern_colour,
        emblem=emblem,
        emblem_colour=_another(dice, under, behind),
        proportions=proportions,
    )
