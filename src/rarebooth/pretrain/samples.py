"""The stage ``samples``: what a base draws beside what the world looks like, for people to see."""

from pathlib import Path
from typing import Any, Final

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
    StableDiffusionPipeline,
)
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from PIL import Image, ImageDraw

from rarebooth.prompts import QUALITIES
from rarebooth.world.contact_sheet import tiled
from rarebooth.world.outfits import OUTFITS, load_outfit
from rarebooth.world.places import PLACES, load_place
from rarebooth.world.render import render
from rarebooth.world.scene import Scene
from rarebooth.world.toys import TOYS, load_toy
from rarebooth.world.traits import BODY_COLOURS, traits

GUIDANCE: Final = 4.0
STEPS: Final = 25
STRANGERS: Final = 3_000_000
"""Instances from here on stand in the true renders: nothing was trained on them."""

_LABEL: Final = 16
_AT_ONCE: Final = 16

Asked = tuple[str, Scene]
"""A prompt, and a scene that answers it."""


def sample_sheets(
    base: Path,
    out: Path,
    *,
    seed: int = 0,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    device: str = "cpu",
) -> None:
    """Write two pictures to the folder ``out``: ``places.jpg`` and ``words.jpg``.

    Every class in every place, and colour words, properties and outfits: true renders above, what
    the base draws at the same prompt below.
    """
    pipeline: Any = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32)
    pipeline.to(device)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in (("places", _places()), ("words", _words())):
        asked = [cell for row in rows for cell in row]
        true = [Image.fromarray(each) for each in render([s for _, s in asked]).images.numpy()]
        drawn: list[Image.Image] = []
        for first in range(0, len(asked), _AT_ONCE):
            prompts = [prompt for prompt, _ in asked[first : first + _AT_ONCE]]
            noise = [torch.Generator().manual_seed(seed + first + i) for i in range(len(prompts))]
            answer = pipeline(
                prompts, num_inference_steps=steps, guidance_scale=guidance, generator=noise
            )
            drawn.extend(answer.images)
        columns = len(rows[0])
        halves = [
            _titled(title, tiled(tiles, columns))
            for title, tiles in (("the world", true), ("the base", drawn))
        ]
        sheet = Image.new("RGB", (halves[0].width, sum(half.height for half in halves)), "white")
        sheet.paste(halves[0], (0, 0))
        sheet.paste(halves[1], (0, halves[0].height))
        sheet.save(out / f"{name}.jpg", quality=88)


def _places() -> list[list[Asked]]:
    """Every class, a row each, in every place."""
    return [
        [
            (
                f"a photo of a {toy} {load_place(place).phrases[0]}".strip(),
                Scene(toy, STRANGERS + column, place, column),
            )
            for column, place in enumerate(PLACES)
        ]
        for toy in TOYS
    ]


def _words() -> list[list[Asked]]:
    """Colour words for three classes, properties for all, outfits for who wears them."""
    rows: list[list[Asked]] = []
    for toy in ("backpack", "vase", "dog"):
        rows.append([(f"a {colour} {toy}", _coloured(toy, colour)) for colour in BODY_COLOURS])
    for quality in QUALITIES:
        rows.append(
            [
                (f"a {quality} {toy}", Scene(toy, STRANGERS, "studio", column, quality))
                for column, toy in enumerate(TOYS)
            ]
        )
    for toy in TOYS:
        if load_toy(toy).figure is not None:
            rows.append(
                [
                    (
                        f"a {toy} {load_outfit(outfit).phrases[0]}",
                        Scene(toy, STRANGERS + column, "studio", column, outfit=outfit),
                    )
                    for column, outfit in enumerate(OUTFITS)
                ]
            )
    width = max(map(len, rows))
    # Rows of one length: the shorter ones go on with their first words, drawn from other noise.
    return [(row * 2)[:width] for row in rows]


def _coloured(toy: str, colour: str) -> Scene:
    """The first stranger whose main colour this is."""
    instance = STRANGERS
    while traits(toy, instance).main_colour != colour:
        instance += 1
    return Scene(toy, instance, "studio", instance)


def _titled(title: str, sheet: Image.Image) -> Image.Image:
    titled = Image.new("RGB", (sheet.width, sheet.height + _LABEL), "white")
    ImageDraw.Draw(titled).text((4, 2), title, fill="black")
    titled.paste(sheet, (0, _LABEL))
    return titled
