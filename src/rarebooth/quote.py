"""What a training will take on this machine, measured in a few of its steps before it begins."""

import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from rarebooth.base import Base, Session
from rarebooth.folder import of_last_stage
from rarebooth.photos import Pixels
from rarebooth.plan import Plan
from rarebooth.prompts import SHEET_SCENES
from rarebooth.protocols import Extent
from rarebooth.run import Run
from rarebooth.sample import batch_for
from rarebooth.training import CHOICE, SHEET, class_cache

CLASS_IMAGES: Final = "class images"
FIRST_PICTURE: Final = "first picture"

PROBED: Final = 3
"""Steps that are taken of each stage; the first pays for preparations and is not counted."""

PATIENCE: Final = 1.0
"""Seconds for one picture's pass above which no whole batch is timed."""


@dataclass(frozen=True)
class Quote:
    """``seconds``: what each part of the training takes, in order. ``memory``, ``disk``: bytes.

    The parts are CLASS_IMAGES, the stages, FIRST_PICTURE, CHOICE and SHEET, those that there are.
    ``memory``: the most that was used while probing, of the GPU if there is one, else of this
    process; None where the system does not say.
    """

    seconds: Mapping[str, float]
    memory: int | None
    disk: int

    @property
    def total(self) -> float:
        """Seconds of all parts."""
        return sum(self.seconds.values())

    def after(self, part: str) -> float:
        """Seconds of the parts that come after one."""
        names = list(self.seconds)
        return sum(self.seconds[name] for name in names[names.index(part) + 1 :])

    def left(self, part: str, seconds: float, share: float) -> float:
        """Seconds until the end, where ``seconds`` are left of a part, which are ``share`` of it.

        What comes after is taken to miss its quote as that part has.
        """
        missed = seconds / share / self.seconds[part] if self.seconds[part] else 1.0
        return seconds + missed * self.after(part)


def quote(job: Plan) -> Quote:
    """Measure a plan: a few steps of each stage and a pass or two, of which nothing is kept.

    The base is given back as it was. Raises DivergedError where these steps already diverge.
    """
    method, lengths = job.settings.method, job.lengths
    pictures = dict(_pictures(job))
    pace = _pace(job)
    picture, encoding = _drawing(job.base) if pictures or method.prior_images else (0.0, 0.0)
    preset = job.settings.preset
    each = preset.preview.forwards * picture
    seconds: dict[str, float] = {}
    if method.prior_images:
        drawn, told = _class_images(job)
        seconds[CLASS_IMAGES] = drawn * preset.draw.forwards * picture + told * encoding
    for stage in method.stages:
        if stage == method.stages[-1] and FIRST_PICTURE in pictures:
            seconds[FIRST_PICTURE] = pictures.pop(FIRST_PICTURE) * each
        seconds[stage] = pace[stage] * (lengths[stage] or 0)
    seconds |= {name: count * each for name, count in pictures.items()}
    return Quote(seconds, _most_memory(job.base.device), job.disk_needed)


def _pace(job: Plan) -> dict[str, float]:
    """Seconds a step of each stage."""
    method: Any = job.settings.method.shortened(PROBED)
    if method.prior_images:
        method = replace(method, class_images=1)
    times: dict[str, list[float]] = {stage: [] for stage in method.stages}
    train = job.settings.train
    run = Run(
        train.seed,
        class_images=_blank,
        split=train.split_batches,
        low_memory=train.low_memory,
    )
    with Session(job.base) as session, closing(method.fit(session, job.taught, run)) as steps:
        job.prepare(session, lambda _: None)
        began = time.perf_counter()
        for step in steps:
            float(step.loss)  # a GPU works on after the host has gone ahead
            now = time.perf_counter()
            times[step.stage].append(now - began)
            began = now
    return {
        stage: statistics.median(taken[1:] or taken) if taken else 0.0
        for stage, taken in times.items()
    }


def _blank(session: Session, prompt: str, count: int) -> Pixels:  # noqa: ARG001  as a Source
    """Class images that are as costly to learn from as any, and show nothing."""
    size = session.base.size
    return np.zeros((count, size, size, 3), np.uint8)


@torch.no_grad()
def seconds_a_pass(base: Base, condition: Tensor, rows: int) -> float:
    """Seconds of one picture's pass through the denoiser, of ``rows`` at once, told [1, L, D]."""
    given = torch.zeros((rows, *base.latent_shape), device=base.device)
    timestep = torch.zeros(rows, dtype=torch.long, device=base.device)
    began = time.perf_counter()
    base.denoise(given, timestep, condition.expand(rows, -1, -1)).sum().item()
    return (time.perf_counter() - began) / rows


@torch.no_grad()
def _drawing(base: Base) -> tuple[float, float]:
    """Seconds of one picture's pass through the denoiser in a full batch, and of its encoding."""
    with Session(base) as session:
        condition = session.condition([""])
        seconds_a_pass(base, condition, 1)  # pays for preparations
        a_pass = seconds_a_pass(base, condition, 1)
        if a_pass < PATIENCE:
            a_pass = seconds_a_pass(base, condition, 2 * batch_for(base))
        began = time.perf_counter()
        base.posterior(_blank(session, "", 1))
    return a_pass, time.perf_counter() - began


def _class_images(job: Plan) -> tuple[int, int]:
    """How many class images are still to be drawn, and how many will be encoded."""
    method: Any = job.settings.method
    nouns = [subject.noun for subject in job.subjects]
    told = method.prior_images * len(nouns)
    if job.class_photos_at is not None:
        return 0, told
    cache = class_cache(job)
    prompts = method.class_prompts(nouns)
    kept = sum(cache.kept(Session(job.base), prompt, method.class_images) for prompt in prompts)
    return told - kept, told


def _pictures(job: Plan) -> Iterator[tuple[str, int]]:
    """The pictures that a run draws for itself, by what for."""
    checkpoints = job.checkpoints
    whole = of_last_stage(checkpoints)
    previews = job.settings.train.previews != "none"
    if previews and len(checkpoints) > len(whole):
        yield FIRST_PICTURE, len(checkpoints) - len(whole)
    if job.unjudged(checkpoints) is None:
        yield CHOICE, len(whole) * Extent().choosing().pictures
    if previews:
        yield SHEET, (len(checkpoints) + 1) * len(SHEET_SCENES) * len(job.subjects)


def _most_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # noqa: PLC0415  not on Windows
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # kilobytes elsewhere
