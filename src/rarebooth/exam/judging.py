"""Rows: whether the two judges that come with the base can be believed."""

from pathlib import Path
from typing import Final

from rarebooth.exam.extent import Extent
from rarebooth.exam.outlook import answers_outlook
from rarebooth.exam.row import Row, absent, judged, percent
from rarebooth.exam.strangers import Renderer
from rarebooth.metrics.encoders.clip import ClipEncoder
from rarebooth.metrics.encoders.dino import DinoEncoder
from rarebooth.pretrain.judges.exam import (
    CAPTIONS,
    caption_accuracy,
    draw_caption_tests,
    draw_triplets,
    triplet_accuracy,
)
from rarebooth.pretrain.recipe import read_recipe

TRIPLETS_BAR: Final = 0.97
CAPTIONS_BAR: Final = 0.90


def dino_row(folder: Path, extent: Extent, renderer: Renderer, size: int) -> Row:
    """How often the DINO judge finds the same individual nearer than another in the same scene."""
    name, bar = "DINO judge, triplets", f"at least {percent(TRIPLETS_BAR)}"
    if not folder.exists():
        return absent(name, bar, "absent")
    tests = draw_triplets(
        extent.judged, seed=extent.seed, renderer=lambda scenes: renderer(scenes, size)
    )
    share = triplet_accuracy(DinoEncoder.open(folder), tests)
    return judged(
        name,
        bar,
        f"{percent(share)} of {extent.judged}",
        {"share": share, "triplets": extent.judged},
        reached=share >= TRIPLETS_BAR,
        wanted=lambda: _wanted(folder, "triplets", share, TRIPLETS_BAR),
    )


def clip_row(folder: Path, extent: Extent, renderer: Renderer, size: int) -> Row:
    """How often the CLIP judge finds the right caption nearest."""
    name, bar = f"CLIP judge, {CAPTIONS} captions", f"at least {percent(CAPTIONS_BAR)}"
    if not folder.exists():
        return absent(name, bar, "absent")
    tests = draw_caption_tests(
        extent.judged, seed=extent.seed, renderer=lambda scenes: renderer(scenes, size)
    )
    share = caption_accuracy(ClipEncoder.open(folder), tests)
    return judged(
        name,
        bar,
        f"{percent(share)} of {extent.judged}",
        {"share": share, "pictures": extent.judged, "captions": CAPTIONS},
        reached=share >= CAPTIONS_BAR,
        wanted=lambda: _wanted(folder, "captions", share, CAPTIONS_BAR),
    )


def _wanted(folder: Path, what: str, share: float, bar: float) -> str:
    """What the judge's own recipe says about reaching the bar."""
    recipe = read_recipe(folder)
    curve = [(line["step"], line[what]) for line in recipe.get("measured", ()) if what in line]
    return answers_outlook(recipe, curve, share, bar)
