"""A small plan, and jobs of it that take a moment, or end their process, and learn nothing."""

import os
import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rarebooth.bench.executors import pool
from rarebooth.bench.executors.inline import Inline
from rarebooth.bench.executors.pool import Pool
from rarebooth.bench.plan import JobSpec, read_plan
from rarebooth.bench.record import Records
from rarebooth.bench.results import results
from rarebooth.bench.tables import markdown
from rarebooth.bench.work import work

PLAN = """
base = "embedded"
subjects = "miniature"
only = ["backpack", "can", "cat", "dog"]
[extent]
diverse = 1
[entries.ours]
method = "two-stage"
checkpoints = [10, 20, 30]
fixed = 20
score = "all"
seeds = [0, 1]
[entries.theirs]
method = "textual-inversion"
checkpoints = [10, 20]
fixed = 10
"""


def small_plan(folder, text=PLAN):
    """Four subjects by three jobs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.toml").write_text(text, "utf-8")
    return read_plan(folder / "plan.toml")


def body(job) -> dict[str, Any]:
    """What a job might return: numbers that depend on the job alone."""
    dice = random.Random(job.key({}))
    chosen = {"fixed": str(job.fixed), "held-out": str(dice.choice(job.checkpoints))}
    checkpoints: dict[str, Any] = {}
    for name in map(str, job.checkpoints):
        validation = {"likeness": int(name) / 100, "following": 0.5}
        checkpoints[name] = {"validation": validation}
        if job.score == "all" or name in chosen.values():
            numbers = {"diverse": dice.random(), "simple": dice.random(), "class.change": 0.1}
            numbers |= {"diverse.properties": dice.random()}
            scores = {of: {"value": round(number, 4)} for of, number in numbers.items()}
            metrics = ("clip_i", "dino", "clip_t", "pres")
            checkpoints[name]["scores"] = {metric: dict(scores) for metric in metrics}
    return {
        "chosen": chosen,
        "checkpoints": checkpoints,
        "conventions": {"dino": "embedded/dino, whole pictures", "clip_i": "embedded/clip"},
        "cost": {
            "samples": 400 if job.label == "ours" else 50,
            "class_images": 0,
            "unet_pictures_training": 400,
            "unet_pictures_drawing": 1000 + job.seed,
            "cpu_seconds": {"training": 10.0, "drawing": 2.0 + job.seed},
        },
    }


def stub(job) -> dict[str, Any]:
    """A job that takes a moment."""
    time.sleep(0.02)
    return body(job)


def poisoned(job) -> dict[str, Any]:
    """A job that kills its process, each time, where it is the cat's."""
    if job.subject == "cat":
        os.kill(os.getpid(), signal.SIGKILL)
    return stub(job)


def held(gates: Path, blocks: Mapping[JobSpec, int], job: JobSpec) -> dict[str, Any]:
    """A job that waits until the gate of its block is there."""
    while not (gates / str(blocks[job])).exists():
        time.sleep(0.005)
    return stub(job)


def records_in(folder) -> Records:
    """Records for a base of some digest."""
    return Records(folder, {"base": "digest"})


def table(plan, records) -> str:
    """What is shown of a plan's records."""
    return markdown(results(plan, records.load(plan.jobs)))


def drive(plan_file, folder, workers, run_job) -> None:
    """What one process of a benchmark does: the same each time it is started."""
    pool.START = "fork"  # forked itself, it would start another fork server
    executor = Pool(workers) if workers else Inline()
    work(read_plan(plan_file).jobs, run_job, records_in(folder), executor)
