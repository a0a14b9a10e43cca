"""Stable Diffusion 2.1-base's shapes with random weights, on a GPU: ours beside diffusers' loop.

    python benchmarks/speed/gpu.py --out gpu.json [--size sd21] [--pixels 512] [--rounds 3]

Needs no network and no trained weights: what a step takes does not depend on what a model knows.
The other side is the loop of diffusers' train_dreambooth.py with --mixed_precision bf16, in words
of its own: photos and prompt are encoded anew every step, AdamW is torch's default, the loss is
read every step. All sides take turns. A ``share`` is that of the measured rate of a large product
of matrices which the operations of our step would make, in the median of a side's seconds.
``--size tiny`` tries the script itself, also on a CPU, and compiles nothing.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
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
from rarebooth.run import GPU_CHECK_EVERY, Run
from rarebooth.subject import Photo, Subject

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

BATCHES = (1, 4)
PROMPT = "a photo of (rare) dog"

Steps = Iterator[tuple[str, Callable[[], object]]]
"""The stages of a side in order, each with what takes one of its steps."""


@dataclass(frozen=True)
class Extent:
    """How much is measured: so many rounds, and steps of a side and stage in each.

    ``warm`` steps of each are not counted. ``token_steps`` and ``steps``: of a whole training.
    ``short``: steps of each stage of one that is only to show its memory. ``drawing``: steps of
    DDIM.
    """

    rounds: int
    warm: int
    timed: int
    token_steps: int
    steps: int
    short: int
    drawing: int


EXTENTS = {
    "sd21": Extent(3, warm=3, timed=5, token_steps=100, steps=400, short=4, drawing=50),
    "tiny": Extent(1, warm=1, timed=1, token_steps=2, steps=2, short=1, drawing=2),
}


@dataclass
class Times:
    """What a side took of one stage."""

    first: float = 0.0
    seconds: list[float] = field(default_factory=list)
    peak: int = 0


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


def timed(act: Callable[[], object], device: torch.device) -> float:
    """Seconds until what was asked for is done."""
    wait(device)
    began = time.perf_counter()
    act()
    wait(device)
    return time.perf_counter() - began


def ceiling(device: torch.device) -> float:
    """Operations a second of a large product of bf16 matrices, the most that can be hoped for."""
    side = 8192 if device.type == "cuda" else 512
    one = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    taken = [timed(lambda: one @ one, device) for _ in range(16)]
    return 2 * side**3 / statistics.median(taken[4:])


def subject(size: int) -> Subject:
    """Five photos of noise."""
    dice = np.random.default_rng(0)
    squares = dice.integers(0, 255, (5, size, size, 3), dtype=np.uint8)
    photos = [Photo(f"{n}.png", str(n), square, (size, size)) for n, square in enumerate(squares)]
    return Subject("dog", tuple(photos))


def ours(
    base: Base, method: TwoStage, steps: int, notice: Callable[[str], None] | None = None
) -> Steps:
    """Our engine; compiled where there is somebody to tell that it could not be."""
    short = replace(method, token_steps=steps, steps=steps)
    with Session(base) as session, closing(short.fit(session, [subject(base.size)], Run(0))) as fit:
        if notice is not None:
            session.lend(base.compiled(notice))
        for stage in short.stages:
            yield stage, partial(next, fit)


def theirs(base: Base, batch: int) -> Steps:
    """Diffusers' loop: one row of the whole table of words, then the U-Net."""
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

    with Session(base) as session:
        words = text.get_input_embeddings().weight
        (name,) = (key for key, value in text.named_parameters() if value is words)
        (table,) = session.tune("text", [name]).values()
        kept, act = table.detach().clone(), step([table], None)

        def one_row() -> None:
            act()
            with torch.no_grad():
                table[:-1] = kept[:-1]

        yield "token", one_row
    with Session(base) as session:
        trained = list(session.tune("denoiser").values())
        yield "denoiser", step(trained, 1.0)


def operations(base: Base, method: TwoStage) -> dict[str, float]:
    """Operations of a step of each stage of ours, the second, which prepares nothing."""
    found: dict[str, float] = {}
    for stage, step in ours(base, method, 2):
        step()
        with FlopCounterMode(display=False) as counter:
            step()
        found[stage] = float(counter.get_total_flops())
    return found


def paced(base: Base, batch: int, extent: Extent, rate: float) -> Iterator[dict[str, object]]:
    """The rows of both stages at a batch: all sides, in turns."""
    method, device = TwoStage(token_batch=batch, batch=batch), base.device
    count, told = extent.warm + extent.timed, list[str]()
    sides: dict[str, Callable[[], Steps]] = {
        "ours": lambda: ours(base, method, count),
        "ours, compiled": lambda: ours(base, method, count, told.append),
        "diffusers": lambda: theirs(base, batch),
    }
    taken: dict[tuple[str, str], Times] = {}
    for number in range(extent.rounds):
        for side, stages in sides.items():
            forget(device)
            for stage, step in stages():
                seconds = [timed(step, device) for _ in range(count)]
                times = taken.setdefault((side, stage), Times())
                times.seconds += seconds[extent.warm :]
                if number == 0:
                    times.first, times.peak = seconds[0], peak(device)
                forget(device)
    needed = operations(base, method)
    for (side, stage), times in taken.items():
        median = statistics.median(times.seconds)
        yield {
            "side": side,
            "stage": stage,
            "batch": batch,
            "seconds": median,
            "least": min(times.seconds),
            "counted": len(times.seconds),
            "first_seconds": times.first,
            "peak_bytes": times.peak,
            "operations": needed[stage],
            "share": needed[stage] / (median * rate),
            **({"notices": told} if side == "ours, compiled" and told else {}),
        }


def waits(base: Base, extent: Extent) -> Iterator[tuple[str, str]]:
    """In what the host is to wait for nothing, and "none" or what CUDA says of a wait."""

    def asked(act: Callable[[], object], times: int = 1) -> str:
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(times):
                act()
        except RuntimeError as error:
            return str(error)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return "none"

    between = GPU_CHECK_EVERY - 2  # after the first, and before the look at the losses
    for stage, step in ours(base, TwoStage(), GPU_CHECK_EVERY):
        step()
        yield f"{between} steps of {stage}", asked(step, between)
        step()
    solver = sample.scheduler("ddim", base.scheduler_config)
    with Session(base) as session, torch.no_grad():
        session.condition([PROMPT, ""])
        drawn = partial(sample._latents, session, [PROMPT], [0], solver, extent.drawing, 7.5)
        yield f"{extent.drawing} steps of ddim", asked(drawn)


def whole(
    base: Base, method: TwoStage, folder: Path, *, low_memory: bool = False
) -> tuple[float, int]:
    """Seconds from weights in memory to the subject's file, and the most memory on the way."""
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
    return time.perf_counter() - began, peak(base.device)


def drawn(base: Base, extent: Extent) -> Iterator[tuple[str, list[float]]]:
    """Side and seconds a picture: DDIM steps, ours at once, diffusers' a prompt at a time."""
    prompts = ["a photo of a dog", "a photo of a dog on the beach"] * 2
    parts, each, steps = base._parts, 4, extent.drawing
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
                pipeline(prompt, num_images_per_prompt=each, num_inference_steps=steps)

    def ours() -> None:
        with Session(base) as session:
            sample.draw(session, prompts * each, range(len(prompts) * each), steps=steps)

    sides = {"ours": ours, "diffusers": theirs}
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(extent.rounds + 1):
        for side, act in sides.items():
            taken[side].append(timed(act, base.device) / (len(prompts) * each))
    for side, seconds in taken.items():
        yield side, seconds[1:]  # the first round pays for preparations


def main() -> None:
    """Measure everything, writing as it goes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=tuple(EXTENTS), default="sd21")
    parser.add_argument("--pixels", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=None, help="Fewer where time is short.")
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    extent = EXTENTS[asked.size]
    if asked.rounds is not None:
        if asked.rounds < 1:
            parser.error(f"--rounds is {asked.rounds}; it must be at least 1")
        extent = replace(extent, rounds=asked.rounds)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        if asked.size == "tiny":
            from tiny import build_folder  # noqa: PLC0415  beside the tests

            build_folder(folder / "base")
            # Torch's compiler takes a minute on a CPU.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
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
        found["ceiling"] = rate = ceiling(device)

        def keep(**row: object) -> None:
            found["rows"].append(row)
            asked.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")

        for batch in BATCHES:
            for row in paced(base, batch, extent, rate):
                keep(**row)
        if device.type == "cuda":
            for what, said in waits(base, extent):
                keep(side="ours", what=f"host waits in {what}", found=said)
        for side, taken in drawn(base, extent):
            keep(side=side, what="a picture", seconds=statistics.median(taken), counted=len(taken))
        method = TwoStage(token_steps=extent.token_steps, steps=extent.steps)
        what = f"{method.token_steps} + {method.steps} steps, batch {method.token_batch} then 1"
        for _ in range(extent.rounds):
            seconds, most = whole(base, method, folder)
            keep(side="ours", what=what, seconds=seconds, counted=1, peak_bytes=most)
        few = replace(method, token_steps=extent.short, steps=extent.short)
        _, spare = whole(base, few, folder, low_memory=True)
        keep(side="ours", what=f"{extent.short} + {extent.short}, low memory", peak_bytes=spare)


if __name__ == "__main__":
    main()
