"""What the examiner reads: five questions, each with its possible answers."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

import torch
from torch import Tensor

from rarebooth.prompts import QUALITIES
from rarebooth.world.captions import main_colour
from rarebooth.world.colours import PALETTE
from rarebooth.world.outfits import OUTFITS
from rarebooth.world.places import PLACES
from rarebooth.world.scene import Scene
from rarebooth.world.toys import TOYS, load_toy
from rarebooth.world.traits import traits

NONE: Final = "none"
"""The answer where a toy has no property, or wears nothing."""

UNASKED: Final = -100
"""What torch's cross entropy leaves out."""

Answers = Mapping[str, Sequence[str]]


@cache
def questions() -> Answers:
    """Class, context, colour, property and accessory, each with the world's own words."""
    return {
        "class": TOYS,
        "context": PLACES,
        "colour": tuple(PALETTE),
        "property": (NONE, *QUALITIES),
        "accessory": (NONE, *OUTFITS),
    }


def truth(scene: Scene) -> dict[str, str]:
    """The right answers to every question about a scene."""
    return {
        "class": scene.toy,
        "context": scene.place,
        "colour": _colour(scene),
        "property": _property(scene),
        "accessory": scene.outfit or NONE,
    }


def targets(scenes: Sequence[Scene]) -> Tensor:
    """The right answers of scenes as numbers: int64 [N, questions].

    ``UNASKED`` for the colour of a dressed toy: clothes may hide its largest part.
    """
    asked = questions()
    order = {name: {word: i for i, word in enumerate(words)} for name, words in asked.items()}
    rows: list[list[int]] = []
    for scene in scenes:
        right = truth(scene)
        rows.append(
            [
                UNASKED if name == "colour" and scene.outfit else order[name][right[name]]
                for name in asked
            ]
        )
    return torch.tensor(rows)


def _colour(scene: Scene) -> str:
    """The word a caption uses for the largest part."""
    if scene.quality in PALETTE:
        return scene.quality
    return main_colour(scene.toy, scene.instance)


def _property(scene: Scene) -> str:
    """The scene's quality; or the colour that a toy without one shows on all its large parts.

    That is just what the qualities "red" and "purple" make of a toy: nobody could tell a toy that
    is red by nature from one that was made red.
    """
    if scene.quality is not None:
        return scene.quality
    known = traits(scene.toy, scene.instance)
    large = {
        colour
        for part, colour in zip(load_toy(scene.toy).parts, known.colours, strict=True)
        if part.role in {"main", "second"}
    }
    only = large.pop()
    return only if not large and only in QUALITIES else NONE
