"""What training costs as its work grows: photos, batch, steps, subjects in one process."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from PIL import Image, ImageEnhance
from process import apart
from sides import BASE, PHOTOS

from rarebooth.api import plan, quote, train
from rarebooth.base import Base
from rarebooth.bases import open_base
from rarebooth.cli.pace import Pace

SHORT: Final = {
    "noun": "backpack",
    "base": BASE,
    "device": "cpu",
    "previews": "none",
    "choose": "last",
    "token_steps": 10,
    "steps": 10,
    "token_batch": 1,
    "batch": 1,
}


def grow(name: str) -> dict[str, Any]:
    """Measurements by how large the work was."""
    open_base(BASE)  # what is imported and loaded once is not the work's
    with TemporaryDirectory() as folder:
        return {str(size): GROWTHS[name](size, Path(folder)) for size in SIZES[name]}


def _learn(photos: Path, out: Path, base: Base | None = None, **flags: object) -> dict[str, float]:
    """Seconds until the first step, of a step of each stage, and in all.

    And what was said of it: ``quoted`` is the quote's seconds to those that training took, ``left``
    the seconds that were said to be left after a tenth of the steps to those that were. What the
    quote itself took is in neither.
    """
    began = time.perf_counter()
    job = plan(photos, {**SHORT, **flags}, out=out, opened=base)
    planned = time.perf_counter()
    quoted = quote(job)
    trained = time.perf_counter()
    began += trained - planned
    pace, moments = Pace(), list[tuple[str, float]]()
    tenth = sum(steps or 0 for steps in job.lengths.values()) / 10
    said: tuple[float, float] | None = None
    for progress in train(job):
        now = time.perf_counter()
        moments.append((progress.stage, now - began))
        pace.step(progress.stage, progress.done, progress.total, lambda: 0.0)
        seconds = pace.seconds_left
        if said is None and len(moments) >= tenth and seconds:
            share = (progress.total - progress.done) / progress.total
            said = now, quoted.left(progress.stage, seconds, share)
    ended = time.perf_counter()
    measured = {
        "first": moments[0][1],
        "seconds": ended - began,
        "quoted": quoted.total / (ended - trained),
    }
    if said is not None:
        moment, left = said
        measured["left"] = left / (ended - moment)
    for stage in ("token", "denoiser"):
        measured[stage] = apart([moment for name, moment in moments if name == stage])
    return measured


def _photos(count: int, folder: Path) -> Path:
    """As many photos as are wanted: the same ones in other light."""
    home = folder / f"{count} photos"
    home.mkdir(exist_ok=True)
    shown = sorted(PHOTOS.glob("*.png"))
    for number in range(count):
        with Image.open(shown[number % len(shown)]) as photo:
            light = 1 - number / 100
            ImageEnhance.Brightness(photo).enhance(light).save(home / f"{number:02d}.png")
    return home


def _by_photos(count: int, folder: Path) -> dict[str, float]:
    return _learn(_photos(count, folder), folder / f"photos-{count}")


def _by_batch(count: int, folder: Path) -> dict[str, float]:
    return _learn(PHOTOS, folder / f"batch-{count}", token_batch=count, batch=count)


def _by_steps(count: int, folder: Path) -> dict[str, float]:
    return _learn(PHOTOS, folder / f"steps-{count}", steps=count)


def _by_subjects(count: int, folder: Path) -> dict[str, float]:
    """With the opening of the base, which all of them share."""
    began = time.perf_counter()
    base = open_base(BASE, device="cpu")
    opened = time.perf_counter() - began
    learnt = [
        _learn(PHOTOS, folder / f"subjects-{count}-{number}", base) for number in range(count)
    ]
    return {"seconds": opened + sum(each["seconds"] for each in learnt)}


GROWTHS: Final[Mapping[str, Callable[[int, Path], dict[str, float]]]] = {
    "photos": _by_photos,
    "batch": _by_batch,
    "steps": _by_steps,
    "subjects": _by_subjects,
}

SIZES: Final[Mapping[str, tuple[int, ...]]] = {
    "photos": (4, 10, 40),
    "batch": (1, 2, 4, 8),
    "steps": (25, 50, 100, 200),
    "subjects": (1, 2, 4, 8),
}
