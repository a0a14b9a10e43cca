"""A planned training on the screen: what will be done, how far it is, what came of it."""

import shlex
import shutil
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from rarebooth.api import Plan, Progress, train
from rarebooth.cli.console import duration, is_live, notice, out, volume
from rarebooth.cli.pace import Pace
from rarebooth.cli.stopper import Stopper
from rarebooth.folder import STAGE_NAMES, RunFolder

NEW_SCENE = "a photo of {} on the beach"
"""The prompt of the command that is offered at the end."""

SHOWN_NAMES = 12
TENTH = 10

Report = Callable[[Progress, Pace], None]


def stage_steps(job: Plan) -> dict[str, int]:
    """Updates of every stage: ``<stage>_steps`` of the method, and ``steps`` of its last stage."""
    method: Any = job.settings.method
    return {stage: getattr(method, f"{stage}_steps", method.steps) for stage in method.stages}


def checkpoint_names(job: Plan) -> list[str]:
    """The checkpoints that the run will leave, in order."""
    method, every = job.settings.method, job.settings.train.checkpoint_every
    last = stage_steps(job)[method.stages[-1]]
    numbers = sorted({*range(every, last + 1, every), last})
    earlier = zip(STAGE_NAMES, method.stages[:-1], strict=False)
    return [
        *(name for name, stage in earlier if stage_steps(job)[stage] > 0),
        *map(str, numbers),
    ]


def show(job: Plan) -> None:
    """Say in one block what will be done."""
    subject, base, settings = job.subject, job.base, job.settings
    steps = ", ".join(f"{count} of the {stage}" for stage, count in stage_steps(job).items())
    _row("photos", f"{len(subject.photos)} used: {_listed(p.name for p in subject.photos)}")
    for refusal in subject.refused:
        _row("", f"refused {refusal.name}: {refusal.reason}")
    if subject.skipped:
        _row("", f"skipped, no photos: {_listed(subject.skipped)}")
    token = getattr(settings.method, "token", None)
    _row("subject", f"{subject.noun}" + (f', called "{token} {subject.noun}"' if token else ""))
    _row("base", f"{base.identity.name}, {base.size} x {base.size} pixels, on {base.device}")
    _row("method", f"{settings.method.name}: {settings.method.summary}")
    _row("steps", steps)
    _row("writes", f"{job.folder.path}: checkpoints {', '.join(checkpoint_names(job))}")
    if job.earlier is not None and not job.finished:
        _row("", "continues the run that was begun there")
    out().print()


def show_settings(job: Plan) -> None:
    """Every setting with where it comes from, and what the run will need on disk."""
    origin = job.settings.origin
    for part in (job.settings.train, job.settings.method):
        for item in fields(part):
            value = getattr(part, item.name)
            shown = "the base's own" if value is None else str(value)
            out().print(f"  {item.name:18} {shown:24} {origin.get(item.name, 'default')}")
    needed = disk_needed(job)
    free = shutil.disk_usage(_existing(job.folder.path)).free
    out().print()
    _row("disk", f"about {volume(needed)} while it trains, {volume(free)} free")
    if needed > free:
        notice("That is not enough room: choose another disk with --out, or fewer checkpoints.")


def disk_needed(job: Plan) -> float:
    """Bytes that the run takes at its largest, pictures not counted.

    A checkpoint is fp16; a state is fp32 with AdamW's two moments, and there are two for a moment.
    """
    parts = job.settings.method.changes - {"token"}
    count = sum(tensor.numel() for part in parts for tensor in job.base.part(part).parameters())
    whole = sum(name not in STAGE_NAMES for name in checkpoint_names(job))
    return count * (2 * (whole + 1) + 2 * 3 * 4)


def follow(job: Plan) -> RunFolder:
    """Train a plan, showing how far it is; Interrupted after Ctrl-C or SIGTERM."""
    began = time.monotonic()
    last_stage = job.settings.method.stages[-1]
    pace = Pace()
    with Stopper() as stopper, _bars(job) if is_live() else _lines(job) as report:
        for progress in train(job, stop=stopper.is_asked):
            pace.step(progress.stage, progress.done, progress.total, progress.loss)
            report(progress, pace)
            if progress.stage == last_stage and progress.done == progress.total:
                stopper.leave_at_once = True
                if _draws(job):
                    out().print("  drawing the contact sheet")
    out().print(f"Done in {duration(time.monotonic() - began)}.")
    return job.folder


def show_result(job: Plan) -> None:
    """Where the finished run's files are, and the command to go on with."""
    folder = job.folder
    if folder.sheet.is_file():
        _row("sheet", str(folder.sheet))
    _row("subject", f"{folder.subject} ({volume(folder.subject.stat().st_size)})")
    out().print("Go on with:")
    out().print(f"  {generate_command(job)}")


def generate_command(job: Plan) -> str:
    """The command that draws the learnt subject in a new scene."""
    words = ["rarebooth", "generate", str(job.folder.path), NEW_SCENE]
    if Path(job.base_asked).is_dir():
        words += ["--base", job.base_asked]
    return " ".join(f'"{word}"' if word == NEW_SCENE else shlex.quote(word) for word in words)


@contextmanager
def _bars(job: Plan) -> Generator[Report]:
    """One bar a stage, redrawn in place."""
    columns = (
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
    )
    with Bars(*columns, console=out()) as bars:
        tasks: dict[str, TaskID] = {
            stage: bars.add_task(stage, total=steps, state="")
            for stage, steps in stage_steps(job).items()
        }

        def report(progress: Progress, pace: Pace) -> None:
            state = f"loss {pace.loss:.4f}{_left(job, progress, pace)}"
            bars.update(tasks[progress.stage], completed=progress.done, state=state)
            for stage, task in tasks.items():
                if stage == progress.stage:
                    break
                bars.update(task, completed=bars.tasks[task].total)
            _say_written(progress)

        yield report


@contextmanager
def _lines(job: Plan) -> Generator[Report]:
    """A line about every tenth of a stage, for logs and pipes."""

    def report(progress: Progress, pace: Pace) -> None:
        tenth = max(1, progress.total // TENTH)
        if progress.done % tenth == 0 or progress.done == progress.total:
            place = f"{progress.stage} {progress.done}/{progress.total}"
            out().print(f"{place}  loss {pace.loss:.4f}{_left(job, progress, pace)}")
        _say_written(progress)

    yield report


def _left(job: Plan, progress: Progress, pace: Pace) -> str:
    seconds = pace.seconds_left
    if seconds is None or progress.done == progress.total:
        return ""
    left = f"  about {duration(max(1, seconds))} left"
    if progress.stage != job.settings.method.stages[-1]:
        return f"{left} in this stage"
    return left + (", then the contact sheet" if _draws(job) else "")


def _draws(job: Plan) -> bool:
    return job.settings.train.previews != "none"


def _say_written(progress: Progress) -> None:
    if progress.written is not None:
        out().print(f"  wrote {progress.written}")


def _row(label: str, text: str) -> None:
    out().print(f"{label:9}{text}")


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = len(every) - SHOWN_NAMES
    return ", ".join(every[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _existing(path: Path) -> Path:
    """The nearest folder that exists, from a path upwards."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.is_dir())
