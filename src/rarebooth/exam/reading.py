"""Rows: whether the examiner can be believed, on true renders."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from rarebooth.exam.extent import Extent
from rarebooth.exam.outlook import answers_outlook
from rarebooth.exam.row import Row, judged, percent
from rarebooth.exam.strangers import (
    Renderer,
    strangers,
    with_and_without_outfit,
    with_and_without_property,
)
from rarebooth.metrics.encoders.examiner import Examiner
from rarebooth.pretrain.examiner.labels import truth
from rarebooth.world.scene import Scene

BARS: Final = {
    "class": 0.98,
    "context": 0.98,
    "colour": 0.95,
    "property": 0.95,
    "accessory": 0.95,
}


def reading_rows(
    examiner: Examiner, recipe: Mapping[str, Any], extent: Extent, renderer: Renderer
) -> Iterator[Row]:
    """The share of right answers to each question, on held-out renders.

    Class, context and colour: scenes as the world draws them, and of these, for the colour, toys
    that wear nothing, since clothes may hide the largest part. Property and accessory: the mean
    of two shares, of scenes that have one and of scenes that have none.
    """
    key = f"read {extent.seed}"
    world = strangers(extent.read, key)
    groups = {
        "colour": [[scene for scene in world if scene.outfit is None]],
        "property": with_and_without_property(extent.read, key),
        "accessory": with_and_without_outfit(extent.read, key),
    }
    for question, bar in BARS.items():
        sets = groups.get(question, [world])
        shares = [_share(examiner, question, scenes, renderer) for scenes in sets]
        share, seen = sum(shares) / len(shares), sum(map(len, sets))
        curve = [(line["pictures"], line[question]) for line in recipe.get("curve", ())]
        yield judged(
            f"examiner on renders, {question}",
            f"at least {percent(bar)}",
            f"{percent(share)} of {seen}",
            {"share": share, "shares": shares, "pictures": seen},
            reached=share >= bar,
            wanted=partial(answers_outlook, recipe, curve, share, bar),
        )


def _share(examiner: Examiner, question: str, scenes: Sequence[Scene], renderer: Renderer) -> float:
    found = examiner.read(renderer(scenes, examiner.size).images)[question]
    right = [truth(scene)[question] for scene in scenes]
    return sum(map(str.__eq__, found, right)) / len(scenes)
