"""The stage ``samples``: what a base draws, for people to look at."""

from pathlib import Path
from typing import Any, Final

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
    StableDiffusionPipeline,
)
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from PIL import Image, ImageDraw

from rarebooth.prompts import QUALITIES
from rarebooth.world.colours import PALETTE
from rarebooth.world.places import PLACES, load_place
from rarebooth.world.toys import TOYS

GUIDANCE: Final = 4.0
STEPS: Final = 25

_ZOOM: Final = 2
_LABEL: Final = 14
_AT_ONCE: Final = 13


def sample_sheet(base: Path, out: Path, *, seed: int = 0, device: str = "cpu") -> None:
    """Draw every toy in every place, then colour words and qualities, and save one picture."""
    pipeline: Any = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32)
    pipeline.to(device)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    wheres = [load_place(name).phrases[0] for name in PLACES]
    rows = [[f"a photo of a {toy} {where}".strip() for where in wheres] for toy in TOYS]
    for toy in ("backpack", "vase", "dog"):
        rows.append([f"a {colour} {toy}" for colour in PALETTE])
    for quality in QUALITIES:
        rows.append([f"a {quality} {toy}" for toy in TOYS])
    tiles = [_draw(pipeline, row, seed) for row in rows]
    edge = tiles[0][0].width * _ZOOM
    sheet = Image.new("RGB", (edge * max(map(len, rows)), (edge + _LABEL) * len(rows)), "white")
    pen = ImageDraw.Draw(sheet)
    for y, (row, pictures) in enumerate(zip(rows, tiles, strict=True)):
        for x, (prompt, picture) in enumerate(zip(row, pictures, strict=True)):
            corner = (x * edge, y * (edge + _LABEL))
            pen.text(corner, prompt.removeprefix("a photo of ")[-20:], fill="black")
            large = picture.resize((edge, edge), Image.Resampling.LANCZOS)
            sheet.paste(large, (corner[0], corner[1] + _LABEL))
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)


def _draw(pipeline: Any, prompts: list[str], seed: int) -> list[Image.Image]:  # noqa: ANN401
    pictures: list[Image.Image] = []
    for first in range(0, len(prompts), _AT_ONCE):
        part = prompts[first : first + _AT_ONCE]
        generators = [
            torch.Generator().manual_seed(seed + first + offset) for offset in range(len(part))
        ]
        answer = pipeline(
            part, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators
        )
        pictures.extend(answer.images)
    return pictures
