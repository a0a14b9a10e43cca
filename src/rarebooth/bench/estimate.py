"""What a benchmark takes, told before it begins."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from rarebooth.base import Base, Session
from rarebooth.bench.job import FIGURES, method_of
from rarebooth.bench.plan import JobSpec
from rarebooth.catalogue import cost
from rarebooth.quote import seconds_a_pass
from rarebooth.settings import preset_for

BACKWARD: Final = 2.0
"""A backward pass in forward passes: it multiplies by weights and by activations."""


@dataclass(frozen=True)
class Pace:
    """Operations a second that an H100 sustained on a U-Net, and when."""

    rate: float
    when: str


LARGE: Final = Pace(50e12, "with four pictures a step, and a quarter of it with one")
"""Of Stable Diffusion's size, 53e12 and 13e12 (``benchmarks/speed``)."""

SMALL: Final = Pace(5e12, "with sixteen jobs at once")
"""Of the embedded base's: the jobs of ``benchmarks/paper-short.toml``, without scoring."""

LEAST: Final = 1e11
"""Operations of one picture below which a U-Net is small."""

PUBLISHED: Final = {"sd14": 8.03e11, "sd15": 8.03e11, "sd21": 8.04e11}
"""Floating-point operations of one picture that passes the U-Net, at 512 pixels.

As ``operations_a_picture`` counts them of the sizes in each repository's ``unet/config.json``.
"""

TIMED: Final = 3
"""Forward passes that are timed, of which the fastest counts."""

BATCH: Final = 8


@dataclass(frozen=True)
class Work:
    """Pictures that pass the U-Net: forward alone, and forward and backward."""

    forward: int
    trained: int

    @property
    def passes(self) -> float:
        """Both in forward passes."""
        return self.forward + self.trained * (1 + BACKWARD)

    def __add__(self, other: "Work") -> "Work":
        return Work(self.forward + other.forward, self.trained + other.trained)


def work_of(jobs: Iterable[JobSpec]) -> Work:
    """What jobs take at the most: where only some checkpoints are scored in full, two of them.

    The base's own pictures are counted for every job, whose process may have no other of the same
    subject; class images for every noun once, as they are kept.
    """
    total, nouns = Work(0, 0), set[tuple[str, int]]()
    for job in jobs:
        taken = cost(method_of(job))
        each = job.draw.forwards
        in_full = len(job.checkpoints) if job.score == "all" else min(2, len(job.checkpoints))
        of_subject = sum(each.pictures for each in job.extent.subject(job.noun).values())
        beside = sum(each.pictures for each in job.extent.beside(job.noun).values())
        drawn = len(job.checkpoints) * job.extent.choosing().pictures
        drawn += in_full * (of_subject + beside) + beside
        if job.pictures:
            figures = sum(protocol.pictures for protocol in FIGURES.values())
            drawn += len(job.checkpoints) * figures
        total += Work(drawn * each, taken.samples or 0)
        if (job.noun, taken.class_images) not in nouns:
            nouns.add((job.noun, taken.class_images))
            total += Work(taken.class_images * preset_for(job.base).draw.forwards, 0)
    return total


@torch.no_grad()
def seconds_a_picture(base: Base, threads: int) -> float:
    """Seconds that a picture takes to pass the U-Net here, of eight, with so many CPU threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    with Session(base) as session:
        condition = session.condition([""])
        best = min(seconds_a_pass(base, condition, BATCH) for _ in range(TIMED))
    torch.set_num_threads(before)
    return best


@torch.no_grad()
def operations_a_picture(base: Base) -> float:
    """Floating-point operations of one picture that passes the U-Net."""
    given = torch.zeros((1, *base.latent_shape), device=base.device)
    timestep = torch.zeros(1, dtype=torch.long, device=base.device)
    with Session(base) as session:
        condition = session.condition([""])
    with FlopCounterMode(display=False) as counter:
        base.denoise(given, timestep, condition)
    return float(counter.get_total_flops())


def sustained(operations: float) -> Pace:
    """What a GPU is taken to sustain on a U-Net that a picture passes in so many operations."""
    return SMALL if operations < LEAST else LARGE
