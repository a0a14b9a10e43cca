"""A planned training on the screen: what will be done, how far it is, what came of it."""

import shlex
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from rarebooth import decoder, hub
from rarebooth.api import Draft, Plan, Progress, Quote, quote, train
from rarebooth.cli.console import duration, is_live, notice, out, volume
from rarebooth.cli.pace import Pace
from rarebooth.cli.stopper import DRAWING, Stopper
from rarebooth.effects import idle
from rarebooth.errors import DivergedError, ResourceError, SettingsError
from rarebooth.folder import RunFolder
from rarebooth.prompts import PLAIN
from rarebooth.protocols import Extent

NEW_SCENE = f"{PLAIN} on the beach"
"""The prompt of the command that is offered at the end."""

SHOWN_NAMES = 12
REFRESH = 0.5
"""Seconds between new numbers beside a bar."""
TENTH = 10

Report = Callable[[Progress, Pace], None]
CLASS_IMAGES = "class images"


class Screen(NamedTuple):
    """Who is told of a step, and of how many class images are drawn, of how many."""

    report: Report
    drawn: Callable[[int, int], None]


def show(job: Draft) -> None:
    """Say in one block what will be done."""
    settings = job.settings
    steps = ", ".join(
        f"as many of the {stage} as it takes" if count is None else f"{count} of the {stage}"
        for stage, count in job.lengths.items()
    )
    for subject, taught in zip(job.subjects, job.taught, strict=True):
        photos = subject.photos
        used = [f"{photo.name} ({photo.original[0]} x {photo.original[1]})" for photo in photos]
        _row("photos", f"{len(used)} used: {_listed(used)}")
        for photo in photos[len(taught.photos) :]:
            _row("", f"{photo.name} is not learnt from: the probe looks on it")
        for refusal in subject.refused:
            _row("", f"refused {refusal.name}: {refusal.reason}")
        if subject.skipped:
            _row("", f"skipped, no photos: {_listed(subject.skipped)}")
    nouns = [subject.noun for subject in job.subjects]
    phrases = settings.method.phrases(nouns)
    _row("subject", ", ".join(f'{n}, called "{p}"' for n, p in zip(nouns, phrases, strict=True)))
    if isinstance(job, Plan):
        base = job.base
        _row("base", f"{base.identity.name}, {base.size} x {base.size} pixels, on {base.device}")
    else:
        _row("base", f"{settings.train.base}, not on this machine")
    _row("method", f"{settings.method.name}: {settings.method.summary}")
    _row("steps", steps)
    if settings.train.compile:
        _row("", "compiled, which takes a minute or more before the first of a stage")
    _row("writes", f"{job.folder.path}: checkpoints {', '.join(job.checkpoints)}".rstrip())
    if _chooses(job):
        each = Extent().choosing().pictures
        _row("choice", f"{each} pictures of each checkpoint are judged; --choose last does without")
    if isinstance(job, Plan) and job.earlier is not None and not job.finished:
        _row("", "continues the run that was begun there")
    for sentence in idle(settings):
        notice(sentence)
    out().print()


def rehearse(job: Draft) -> None:
    """Say what would be done and what it would take; a base that is not here is not fetched."""
    missing = hub.pending(job.base_asked)
    if missing is None:
        job = job.open(notice)
    show(job)
    if _chooses(job):
        _show_judges(job)
    _show_settings(job)
    out().print()
    if isinstance(job, Plan):
        _show_needs(job)
    else:
        _row("download", f"{missing}.")
        _row("", "Picture size, disk and memory can be told once the base is here.")


def _show_judges(job: Draft) -> None:
    from rarebooth.metrics.encoders import judges

    try:
        missing = judges.pending(job.base_asked)
    except SettingsError as error:  # the run would take the last checkpoint, and say so
        missing = [str(error).removesuffix(".")]
    for each in missing:
        _row("judges", f"{each}.")


def _show_settings(job: Draft) -> None:
    """Every setting with where it comes from."""
    origin, preset = job.settings.origin, job.settings.preset
    _row("preset", f"{preset.name} (source: {preset.source})")
    for part in (job.settings.train, job.settings.method):
        for item in fields(part):
            value = getattr(part, item.name)
            shown = "the base's own" if value is None else str(value)
            out().print(f"  {item.name:18} {shown:24} {origin.get(item.name, 'default')}")


def _show_needs(job: Plan) -> None:
    _row(
        "memory",
        f"{volume(job.memory_needed)} for weights and optimizer of what is trained, and more for "
        "the pictures in work",
    )
    _row(
        "disk",
        f"about {volume(job.disk_needed)} while it trains, {volume(job.disk_free)} free",
    )
    if not job.finished:
        try:
            job.require_room()
        except ResourceError as error:
            notice(str(error))


def follow(job: Plan, stopper: Stopper) -> RunFolder:
    """Train a plan, showing how far it is; Interrupted after Ctrl-C or SIGTERM."""
    decoder.close()  # the photos are read
    began = time.monotonic()
    stages = job.settings.method.stages
    pace, quoted = Pace(), _quoted(job)
    stopper.at_once = None
    with _bars(job, quoted) if is_live() else _lines(job, quoted) as screen:
        for progress in train(job, stop=stopper.is_asked, drawn=screen.drawn, notice=notice):
            if progress.stage not in stages:  # what comes after the last step; all is saved
                stopper.at_once = DRAWING
                out().print(f"  drawing the {progress.stage}")
                continue
            pace.step(progress.stage, progress.done, progress.total, partial(_loss, progress))
            screen.report(progress, pace)
    out().print(f"Done in {duration(time.monotonic() - began)}.")
    return job.folder


def _quoted(job: Plan) -> Quote | None:
    """What training will take, said on the screen.

    None where no step is left to take, or where a first one already diverges.
    """
    if job.all_taken:
        return None
    try:
        quoted = quote(job)
    except DivergedError:
        return None  # training will say which step, and what helps
    if job.earlier is None:
        parts = ", ".join(
            f"{name} {duration(max(1, seconds))}" for name, seconds in quoted.seconds.items()
        )
        memory = "" if quoted.memory is None else f"{volume(quoted.memory)} of memory, "
        _row("takes", f"about {duration(max(1, quoted.total))} here ({parts})")
        _row("", f"{memory}{volume(quoted.disk)} of disk")
        out().print()
    return quoted


def show_result(job: Plan) -> None:
    """Where the finished run's files are, which checkpoint is the best, and how to go on."""
    folder = job.folder
    choice = (folder.read() or {}).get("choice")
    if choice is not None:
        _row("choice", choice["why"])
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
def _bars(job: Plan, quoted: Quote | None) -> Generator[Screen]:
    """One bar a stage, redrawn in place; and one for class images, where some are drawn."""
    columns = (
        TextColumn("{task.description:12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
    )
    with Bars(*columns, console=out()) as bars:
        tasks: dict[str, TaskID] = {
            stage: bars.add_task(stage, total=steps, state="")
            for stage, steps in job.lengths.items()
        }

        shown_at = -REFRESH

        def report(progress: Progress, pace: Pace) -> None:
            nonlocal shown_at
            task, now = tasks[progress.stage], time.monotonic()
            bars.update(task, completed=progress.done, total=progress.total)
            if now - shown_at >= REFRESH or progress.done == progress.total:
                shown_at = now
                bars.update(task, state=f"loss {pace.loss:.4f}{_left(job, quoted, progress, pace)}")
            for stage, earlier in tasks.items():
                if stage == progress.stage:
                    break
                bars.update(earlier, completed=bars.tasks[earlier].total)
            _say_written(progress)

        def drawn(done: int, total: int) -> None:
            if CLASS_IMAGES not in tasks:
                tasks[CLASS_IMAGES] = bars.add_task(CLASS_IMAGES, total=total, state="")
            bars.update(tasks[CLASS_IMAGES], completed=done, total=total)

        yield Screen(report, drawn)


@contextmanager
def _lines(job: Plan, quoted: Quote | None) -> Generator[Screen]:
    """A line about every tenth of a stage, for logs and pipes."""

    def report(progress: Progress, pace: Pace) -> None:
        tenth = max(1, progress.total // TENTH)
        if progress.done % tenth == 0 or progress.done == progress.total:
            place = f"{progress.stage} {progress.done}/{progress.total}"
            out().print(f"{place}  loss {pace.loss:.4f}{_left(job, quoted, progress, pace)}")
        _say_written(progress)

    shown = 0

    def drawn(done: int, total: int) -> None:
        nonlocal shown
        if done - shown >= total / TENTH or done == total:
            shown = done
            out().print(f"{CLASS_IMAGES} {done}/{total}")

    yield Screen(report, drawn)


def _left(job: Plan, quoted: Quote | None, progress: Progress, pace: Pace) -> str:
    seconds = pace.seconds_left
    if seconds is None or progress.done == progress.total:
        return ""
    if quoted is not None:
        share = (progress.total - progress.done) / progress.total
        seconds = quoted.left(progress.stage, seconds, share)
        return f"  about {duration(max(1, seconds))} left"
    left = f"  about {duration(max(1, seconds))} left"
    if progress.stage != job.settings.method.stages[-1]:
        return f"{left} in this stage"
    after = ("the choice of a checkpoint",) if _chooses(job) else ()
    after += ("the contact sheet",) if _draws(job) else ()
    return f"{left}, then {' and '.join(after)}" if after else left


def _loss(progress: Progress) -> float:
    return progress.loss


def _chooses(job: Draft) -> bool:
    """Whether pictures of several checkpoints will be judged."""
    return job.unjudged(job.checkpoints) is None


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
