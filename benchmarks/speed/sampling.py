"""Sixteen prompts of four pictures, 50 DDIM steps: ours at once, diffusers' prompt by prompt."""

import time
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from rarebooth import sample
from rarebooth.base import Session
from rarebooth.bases import open_base
from rarebooth.hub import find
from rarebooth.prompts import dreambench

PROMPTS = [prompt.replace("{}", "backpack") for prompt in dreambench(live=False)[:16]]
PICTURES = 4
STEPS = 50
GUIDANCE = 7.5
SEED = 0


def sampled(turn: int) -> dict[str, Any]:
    """Seconds of both sides in this process, models loaded before; the order changes by turn."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        find("embedded").folder, safety_checker=None, torch_dtype=torch.float32
    )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    base = open_base("embedded", device="cpu")

    def theirs() -> None:
        for number, prompt in enumerate(PROMPTS):
            pipeline(
                prompt,
                num_images_per_prompt=PICTURES,
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                generator=torch.Generator().manual_seed(SEED + number),
            )

    def ours() -> None:
        prompts = [prompt for prompt in PROMPTS for _ in range(PICTURES)]
        seeds = list(range(len(prompts)))
        with Session(base) as session:
            sample.draw(session, prompts, seeds, sampler="ddim", steps=STEPS, guidance=GUIDANCE)

    sides = {"ours": ours, "theirs": theirs}
    measured: dict[str, Any] = {}
    for side in sides if turn % 2 == 0 else reversed(sides):
        began = time.perf_counter()
        sides[side]()
        measured[side] = {"seconds": time.perf_counter() - began}
    return measured
