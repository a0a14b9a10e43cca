"""Row: seconds a picture."""

import time
from statistics import median
from typing import Final

import torch

from rarebooth.exam.candidate import Candidate
from rarebooth.exam.extent import Extent
from rarebooth.exam.row import Row, judged

BAR: Final = 0.45
"""Seconds on 2 cores."""

BATCH: Final = 4
STEPS: Final = 25


def speed_row(candidate: Candidate, extent: Extent) -> Row:
    """The median time of drawing a batch of four, per picture, after one that is not counted."""
    prompts = ["a photo of a dog"] * BATCH
    candidate.draw(prompts, extent.seed, 1)
    taken: list[float] = []
    for number in range(extent.timed):
        start = time.perf_counter()
        candidate.draw(prompts, extent.seed + number, STEPS)
        taken.append((time.perf_counter() - start) / BATCH)
    found = median(taken)
    device = candidate.base.device
    threads = torch.get_num_threads()
    where = f"{threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else str(device)
    return judged(
        "generation, batch 4, 25 steps",
        f"at most {BAR:g} s on 2 cores",
        f"{found:.3f} s a picture, on {where}",
        {"seconds": round(found, 4), "each": [round(each, 4) for each in taken], "on": where},
        reached=found <= BAR,
        wanted=lambda: (
            f"a factor of {found / BAR:.2f}, or more threads where there are fewer than 2"
        ),
    )
