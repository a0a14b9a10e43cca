"""Stable Diffusion 2.1-base's shapes with random weights, on a GPU: ours beside diffusers' loop.

    python benchmarks/speed/gpu.py --out gpu.json [--size sd21] [--pixels 512]

Needs no network and no trained weights: what a step takes does not depend on what a model knows.
The other side is the loop of diffusers' train_dreambooth.py with --mixed_precision bf16, in words
of its own: photos and prompt are encoded anew every step, AdamW is torch's default, the loss is
read every step. ``--size tiny`` tries the script itself, also on a CPU.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch.utils.flop_counter import FlopCounterMode

from rarebooth import artifact, sample
from rarebooth.artifact import Header
from rarebooth.base import Base, Session
from rarebooth.bases import open_base
from rarebooth.machine import machine
from rarebooth.methods.two_stage import TwoStage
from rarebooth.run import Run
from rarebooth.subject import Photo, Subject

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

WARM, TIMED = 4, 12
"""Steps before the clock counts, and those that it counts."""

BATCHES = (1, 4)
TOKEN_STEPS, STEPS = 100, 400
PROMPT = "a photo of (rare) dog"


def wait(device: torch.device) -> None:
    """Until the GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak(device: torch.device) -> int:
    """The most memory since ``forget``, in bytes; 0 on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def forget(device: torch.device) -> None:
    """Begin to look for the most memory anew."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def paced(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of a step: the median of several after some."""
    taken: list[float] = []
    for number in range(WARM + TIMED):
        wait(device)
        began = time.perf_counter()
        step()
        wait(device)
        if number >= WARM:
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def ceiling(device: torch.device) -> float:
    """Operations a second of a large product of bf16 matrices, the most that can be hoped for."""
    side = 8192 if device.type == "cuda" else 512
    one = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    return 2 * side**3 / paced(lambda: one @ one, device)


def subject(size: int) -> Subject:
    """Five photos of noise."""
    dice = np.random.default_rng(0)
    squares = dice.integers(0, 255, (5, size, size, 3), dtype=np.uint8)
    photos = [Photo(f"{n}.png", str(n), square, (size, size)) for n, square in enumerate(squares)]
    return Subject("dog", tuple(photos))


def ours(base: Base, method: TwoStage) -> Iterator[tuple[str, float, int]]:
    """Stage, seconds of a step and peak memory of our engine."""
    short = replace(method, token_steps=WARM + TIMED, steps=WARM + TIMED)
    device = base.device
    with Session(base) as session, closing(short.fit(session, [subject(base.size)], Run(0))) as fit:
        for stage in short.stages:
            forget(device)
            yield stage, paced(lambda: next(fit), device), peak(device)


def theirs(base: Base, batch: int) -> Iterator[tuple[str, float, int]]:
    """The same for diffusers' loop: the U-Net tuned, or one row of the whole table of words."""
    parts, device = base._parts, base.device
    unet, vae, text = parts.unet, parts.vae(), parts.text_encoder()
    noising = DDPMScheduler.from_config(dict(base.scheduler_config))
    pixels = torch.rand(batch, 3, base.size, base.size, device=device) * 2 - 1
    ids = parts.tokenizer(
        [PROMPT] * batch, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids.to(device)

    def loss() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            with torch.no_grad():
                latents = vae.encode(pixels).latent_dist.sample() * vae.config["scaling_factor"]
            noise = torch.randn_like(latents)
            timestep = torch.randint(0, 1000, (batch,), device=device)
            noisy = noising.add_noise(latents, noise, timestep)
            answer = unet(noisy, timestep, text(ids)[0], return_dict=False)[0]
        return torch.nn.functional.mse_loss(answer.float(), noise.float())

    def step(trained: list[Any], clip: float | None) -> Callable[[], float]:
        optimiser = torch.optim.AdamW(trained, lr=1e-6)

        def act() -> float:
            error = loss()
            error.backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(trained, clip)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            return error.item()

        return act

    forget(device)
    with Session(base) as session:
        words = text.get_input_embeddings().weight
        (name,) = (key for key, value in text.named_parameters() if value is words)
        (table,) = session.tune("text", [name]).values()
        kept, act = table.detach().clone(), step([table], None)

        def one_row() -> None:
            act()
            with torch.no_grad():
                table[:-1] = kept[:-1]

        yield "token", paced(one_row, device), peak(device)
    forget(device)
    with Session(base) as session:
        trained = list(session.tune("denoiser").values())
        yield "denoiser", paced(step(trained, 1.0), device), peak(device)


def whole(base: Base, batch: int, folder: Path, *, low_memory: bool = False) -> dict[str, float]:
    """Seconds from weights in memory to the subject's file, by the paper's numbers of steps."""
    method = TwoStage(token_steps=TOKEN_STEPS, steps=STEPS, batch=batch)
    forget(base.device)
    began = time.perf_counter()
    with Session(base) as session:
        if low_memory:
            session.lend(base.recomputing())
        fit = method.fit(session, [subject(base.size)], Run(0, low_memory=low_memory))
        for step in fit:
            if step.done == step.total and step.stage == "denoiser":
                header = Header(base.identity, method.name, {}, 0, ("dog",), PROMPT, base.size, "1")
                artifact.save(folder / "subject.safetensors", step.snapshot(), header)
    return {"seconds": time.perf_counter() - began, "peak_bytes": peak(base.device)}


def operations(base: Base) -> float:
    """Operations of a stage-two step at batch 1."""
    counter = FlopCounterMode(display=False)
    with Session(base) as session:
        session.tune("denoiser")
        noisy = torch.randn((1, *base.latent_shape), device=base.device)
        with counter:
            answer = base.denoise(
                noisy, torch.tensor([5], device=base.device), session.condition([PROMPT])
            )
            answer.square().mean().backward()
    return float(counter.get_total_flops())


def drawn(base: Base) -> Iterator[tuple[str, float]]:
    """Side and seconds a picture: 50 DDIM steps, ours at once, diffusers' a prompt at a time."""
    prompts = ["a photo of a dog", "a photo of a dog on the beach"] * 2
    parts, each = base._parts, 4
    pipeline = StableDiffusionPipeline(
        vae=parts.vae(),
        text_encoder=parts.text_encoder(),
        tokenizer=parts.tokenizer,
        unet=parts.unet,
        scheduler=DDIMScheduler.from_config(dict(base.scheduler_config)),
        safety_checker=None,  # pyright: ignore[reportArgumentType]  it may be left out
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)

    def theirs() -> None:
        bf16 = base.precision == "bf16"
        for prompt in prompts:
            with torch.autocast(base.device.type, torch.bfloat16, enabled=bf16):
                pipeline(prompt, num_images_per_prompt=each, num_inference_steps=50)

    def ours() -> None:
        with Session(base) as session:
            sample.draw(session, prompts * each, range(len(prompts) * each))

    for side, act in (("ours", ours), ("diffusers", theirs)) * 2:
        wait(base.device)
        began = time.perf_counter()
        act()
        wait(base.device)
        yield side, (time.perf_counter() - began) / (len(prompts) * each)


def main() -> None:
    """Measure everything that the time allows, writing as it goes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=("tiny", "sd21"), default="sd21")
    parser.add_argument("--pixels", type=int, default=None)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    with TemporaryDirectory() as place:
        folder = Path(place)
        if asked.size == "tiny":
            from tiny import build_folder  # noqa: PLC0415  beside the tests

            build_folder(folder / "base")
        else:
            from test_full_size import build_sd21  # noqa: PLC0415
            from tiny import WORDS, build_tokenizer, merges_for  # noqa: PLC0415

            build_tokenizer(folder / "base" / "tokenizer", merges_for(WORDS))
            build_sd21(folder / "base")
        base = open_base(str(folder / "base"), device=asked.device, resolution=asked.pixels)
        device = base.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else machine()
        found: dict[str, Any] = {"machine": name, "torch": torch.__version__, "size": asked.size}
        found |= {"pixels": base.size, "precision": base.precision, "rows": []}

        def keep(**row: object) -> None:
            found["rows"].append(row)
            asked.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")

        found["ceiling"], found["step_operations"] = ceiling(device), operations(base)
        for batch in BATCHES:
            sides = {
                "ours": ours(base, TwoStage(token_batch=batch, batch=batch)),
                "diffusers": theirs(base, batch),
            }
            for side, rows in sides.items():
                for stage, seconds, most in rows:
                    keep(side=side, stage=stage, batch=batch, seconds=seconds, peak_bytes=most)
        for side, seconds in drawn(base):
            keep(side=side, what="a picture", seconds=seconds)
        for batch in (4, 1):
            keep(side="ours", what="100 + 400 steps", batch=batch, **whole(base, batch, folder))
        spare = whole(base, 1, folder, low_memory=True)
        keep(side="ours", what="100 + 400 steps, low memory", batch=1, **spare)


if __name__ == "__main__":
    main()
