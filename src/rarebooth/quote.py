"""What a training will take on this machine, measured in a few of its steps before it begins."""

import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rarebooth.base import Base, Session
from rarebooth.folder import of_last_stage
from rarebooth.photos import Pixels
from rarebooth.plan import Plan
from rarebooth.probe import PAIRS, looked_on
from rarebooth.prompts import SHEET_SCENES
from rarebooth.protocols import Extent
from rarebooth.run import Run
from rarebooth.sample import batch_for
from rarebooth.training import CHOICE, SHEET, class_cache

CLASS_IMAGES: Final = "class images"
PREPARATION: Final = "preparation"
FIRST_PICTURE: Final = "first picture"
PROBES: Final = "probes"
FILES: Final = "checkpoints and states"

PROBED: Final = 3
"""Steps that are taken of each stage; the first pays for preparations and is not counted."""

PROBED_LAST: Final = 6
"""Steps of the last stage, which is most of a run, where they take no longer than ``PATIENCE``."""

PATIENCE: Final = 1.0
"""Seconds that probed steps may take before no more than ``PROBED`` are taken."""

SAMPLE: Final = 16 * 2**20
"""Bytes that are written to learn how fast the disk is."""

LONGEST_PASS: Final = 1.0
"""Seconds for one picture's pass above which no whole batch is timed."""


@dataclass(frozen=True)
class Quote:
    """``seconds``: what each part of the training takes, in order. ``memory``, ``disk``: bytes.

    The parts are CLASS_IMAGES, PREPARATION, the stages, FIRST_PICTURE, PROBES, FILES, CHOICE and
    SHEET, those that there are. PREPARATION comes before the first step, the encoding of photos
    most of all. PROBES and FILES come between the steps of the last stage, and are named before it.
    What judges take is left out: it is little beside the drawing of what they judge.
    ``memory``: the most that was used while probing, of the GPU if there is one, else by this
    process since it began; None where the system does not say.
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
    if job.base.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(job.base.device)
    preparation, pace = _pace(job)
    probes = _probes(job)
    encoded = (method.versions - 1) * sum(len(subject.images) for subject in job.taught)
    needed = pictures or probes or encoded or method.prior_images
    drawing = _drawing(job.base) if needed else NO_DRAWING
    preset = job.settings.preset
    each = preset.preview.forwards * drawing.a_pass + drawing.decoding
    seconds: dict[str, float] = {}
    if method.prior_images:
        drawn, told = _class_images(job)
        a_class_image = preset.draw.forwards * drawing.a_pass + drawing.decoding
        seconds[CLASS_IMAGES] = drawn * a_class_image + told * drawing.encoding
    seconds[PREPARATION] = preparation + encoded * drawing.encoding
    *_, last = method.stages
    for stage in method.stages:
        if stage == last:
            if FIRST_PICTURE in pictures:
                seconds[FIRST_PICTURE] = pictures.pop(FIRST_PICTURE) * each
            if probes:
                encoding = len(looked_on(job.subjects[0].images)) * drawing.encoding
                seconds[PROBES] = encoding + probes * PAIRS * drawing.a_pass
            if written := _written(job, pace[last]):
                seconds[FILES] = written * _seconds_a_byte(job, written)
        seconds[stage] = pace[stage] * (lengths[stage] or 0)
    seconds |= {name: count * each for name, count in pictures.items()}
    return Quote(seconds, _most_memory(job.base.device), job.disk_needed)


def _pace(job: Plan) -> tuple[float, dict[str, float]]:
    """Seconds until the first step begins, and of a step of each stage."""
    method: Any = job.settings.method.shortened(PROBED, last=PROBED_LAST)
    if method.prior_images:
        method = replace(method, class_images=1)
    if method.versions > 1:
        method = replace(method, variants=1)
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
            taken = times[method.stages[-1]]
            if len(taken) >= PROBED and sum(taken) > PATIENCE:
                break
    pace = {
        stage: statistics.median(taken[1:] or taken) if taken else 0.0
        for stage, taken in times.items()
    }
    first = next((stage for stage, taken in times.items() if taken), None)
    # What compiling took is kept for the run, which does not pay for it again.
    if first is None or train.compile:
        return 0.0, pace
    return max(0.0, times[first][0] - pace[first]), pace


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


class _Drawing(NamedTuple):
    """Seconds of a picture's pass through the denoiser in a full batch, its encoding, decoding."""

    a_pass: float
    encoding: float
    decoding: float


NO_DRAWING: Final = _Drawing(0.0, 0.0, 0.0)


@torch.no_grad()
def _drawing(base: Base) -> _Drawing:
    with Session(base) as session:
        condition = session.condition([""])
        seconds_a_pass(base, condition, 1)  # pays for preparations
        a_pass = seconds_a_pass(base, condition, 1)
        if a_pass < LONGEST_PASS:
            a_pass = seconds_a_pass(base, condition, 2 * batch_for(base))
        began = time.perf_counter()
        base.posterior(_blank(session, "", 1))
        encoded = time.perf_counter()
        base.decode(torch.zeros((1, *base.latent_shape), device=base.device))
        decoded = time.perf_counter()
    return _Drawing(a_pass, encoded - began, decoded - encoded)


def _probes(job: Plan) -> int:
    """How often the run will look at the loss on fixed noise."""
    every = job.settings.train.probe_every
    return (job.lengths[job.settings.method.stages[-1]] or 0) // every if every else 0


def _written(job: Plan, pace: float) -> int:
    """Bytes of what is trained that the run will write, its last stage taking ``pace`` a step."""
    checkpoints = job.checkpoint_bytes * (len(of_last_stage(job.checkpoints)) + 1)
    states = job.states
    if job.state_seconds:
        steps = job.lengths[job.settings.method.stages[-1]] or 0
        states = min(states, int(steps * pace / job.state_seconds))
    return int(job.trained * (checkpoints + job.state_bytes * states))


def _seconds_a_byte(job: Plan, written: int) -> float:
    """Seconds that a byte takes to be hashed and to be safe on the disk; 0 where it cannot be."""
    sample = os.urandom(min(SAMPLE, written))
    began = time.perf_counter()
    try:
        with tempfile.TemporaryFile(dir=job.place) as file:  # nameless: a crash leaves no trace
            file.write(sample)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return 0.0  # training will say what is wrong with the folder
    hashlib.sha256(sample).digest()
    return (time.perf_counter() - began) / len(sample)


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
