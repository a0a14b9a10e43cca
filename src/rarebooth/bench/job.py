"""One job of a benchmark: a subject is learnt once and scored at its checkpoints."""

import base64
import io
import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from PIL import Image

from rarebooth import artifact, choose, prompts, scores
from rarebooth.artifact import Header
from rarebooth.base import Base, Session
from rarebooth.bases import open_base
from rarebooth.bench.plan import JobSpec
from rarebooth.bench.subjects import Photographed, photographed
from rarebooth.catalogue import cost
from rarebooth.class_images import Cached, Drawing, Source, cache_folder
from rarebooth.errors import DivergedError, told_without_paths
from rarebooth.evaluation import wear
from rarebooth.evidence import draw_set, draw_sets
from rarebooth.machine import processor
from rarebooth.method import Method
from rarebooth.methods import find as find_method
from rarebooth.metric import Evidence, Judges, PictureSet
from rarebooth.metrics.encoders.judges import open_judges
from rarebooth.photos import Pixels
from rarebooth.protocols import Extent, Protocol
from rarebooth.run import Run
from rarebooth.settings import DrawSettings, preset_for
from rarebooth.subject import Subject

FIGURES: Final = {
    "simple": Protocol((prompts.PLAIN,), 3, 0),
    "scenes": Protocol((f"{prompts.PLAIN} on the beach", f"{prompts.PLAIN} in the jungle"), 1, 0),
    "class": Protocol((prompts.PLAIN,), 3, 20_000),
}
"""What is kept for pictures of every checkpoint: Zeng et al. 2024, figures 3, 4 and 5."""

QUALITY: Final = 75
"""WebP quality of pictures in a record, which are there to be looked at."""


@dataclass
class Spent:
    """Seconds of CPU, all threads together, and seconds by the clock, by what they went into."""

    cpu: dict[str, float] = field(default_factory=dict[str, float])
    clock: dict[str, float] = field(default_factory=dict[str, float])

    @contextmanager
    def on(self, what: str) -> Generator[None]:
        """Book what happens inside."""
        cpu, clock = time.process_time(), time.monotonic()
        try:
            yield
        finally:
            self.cpu[what] = round(self.cpu.get(what, 0.0) + time.process_time() - cpu, 2)
            self.clock[what] = round(self.clock.get(what, 0.0) + time.monotonic() - clock, 2)


def run_job(spec: JobSpec, precision: str = "fp32") -> dict[str, Any]:
    """Learn the subject, choose a checkpoint, score; what a record holds of it, as plain data.

    ``precision``: what the base computes in, wherever the job runs: a record's key tells of it.
    Raises DivergedError where training diverges, or the fixed checkpoint cannot be drawn.
    """
    base, spent = _base(spec.base, precision), Spent()
    judges = _judges(spec.base, str(base.device))
    shown = photographed(spec, base.size)
    method = method_of(spec)
    learnt = Learnt(spec, base, judges, shown, spent)
    with TemporaryDirectory(prefix="rarebooth-") as folder:
        files = {name: Path(folder) / f"{name}.safetensors" for name in map(str, spec.checkpoints)}
        with spent.on("training"):
            _learn(base, method, shown.learnt, spec, files, spent)
        # Images of the class are drawn inside training, and are no part of its own time.
        for seconds in (spent.cpu, spent.clock):
            seconds["training"] = round(seconds["training"] - seconds.get("class images", 0.0), 2)
        judged = learnt.judged(files)
    taken = cost(method)
    kept = [_picture(photo) for photo in shown.learnt.images] if spec.pictures else []
    return {
        "conventions": scores.conventions(judges),
        **judged,
        "photos": kept,
        "base_class": learnt.class_by_the_base() if spec.pictures else [],
        "cost": {
            "samples": taken.samples,
            "class_images": taken.class_images,
            "unet_pictures_training": taken.samples,
            "unet_pictures_class_images": taken.class_images * preset_for(spec.base).draw.forwards,
            "unet_pictures_drawing": learnt.drawn * spec.draw.forwards,
            "cpu_seconds": spent.cpu,
            "seconds": spent.clock,
            "timed_by": "cpu_seconds" if base.device.type == "cpu" else "seconds",
            "threads": torch.get_num_threads(),
            "device": _device(base),
        },
    }


@dataclass
class Learnt:
    """What was learnt of a subject, to be drawn and judged from its checkpoints' files.

    ``drawn``: pictures so far, without those that are there to be looked at. ``undrawn``: why, of
    each checkpoint that cannot be drawn.
    """

    spec: JobSpec
    base: Base
    judges: Judges
    shown: Photographed
    spent: Spent
    drawn: int = 0
    undrawn: dict[str, str] = field(default_factory=dict[str, str])

    def judged(self, files: Mapping[str, Path]) -> dict[str, Any]:
        """Which checkpoint counts, and what is told of each, by its steps.

        One that cannot be drawn is left out, and "undrawn" says why. Raises DivergedError where
        that is so of the fixed one.
        """
        spec = self.spec
        qualities: dict[str, choose.Quality] = {}
        for name, file in files.items():
            with self.leaving_out(name):
                qualities[name] = self.quality(file)
        checkpoints: dict[str, dict[str, Any]] = {
            name: {"validation": {key: round(n, scores.DIGITS) for key, n in asdict(each).items()}}
            for name, each in qualities.items()
        }
        with self.spent.on("the base's own pictures"):
            # Before any checkpoint's, which are not to blame for a base that cannot be drawn.
            untouched = _untouched(self.base, spec.noun, spec.extent, spec.draw)
        while True:
            chosen = {"fixed": str(spec.fixed), "held-out": choose.held_out(qualities)}
            in_full = set(qualities) if spec.score == "all" else set(chosen.values())
            for name in qualities:
                about = checkpoints[name]
                with self.leaving_out(name):
                    if name in in_full and "scores" not in about:
                        about["scores"] = self.scores(files[name], untouched)
                    if spec.pictures and "pictures" not in about:
                        about["pictures"] = self.figures(files[name])
            qualities = {name: qualities[name] for name in qualities if name not in self.undrawn}
            if chosen["held-out"] in qualities:  # else it was drawn to choose, and not to score
                break
        return {
            "chosen": chosen,
            "checkpoints": {name: checkpoints[name] for name in qualities},
            **({"undrawn": self.undrawn} if self.undrawn else {}),
        }

    @contextmanager
    def leaving_out(self, name: str) -> Generator[None]:
        """Note a checkpoint whose pictures diverge inside; DivergedError if it is the fixed one."""
        try:
            yield
        except DivergedError as error:
            if name == str(self.spec.fixed):
                raise DivergedError(
                    f"The fixed checkpoint, {name}, must be scored and cannot be drawn: {error}"
                ) from error
            self.undrawn[name] = told_without_paths(error)

    def quality(self, file: Path) -> choose.Quality:
        """How good a checkpoint is on prompts that are there for choosing."""
        spec = self.spec
        with self.spent.on("drawing"), Session(self.base) as session:
            (phrase,), _ = wear(session, file)
            validation = draw_set(session, spec.extent.choosing(), phrase, spec.draw)
        self.drawn += len(validation.flat)
        with self.spent.on("scoring"):
            # By the photos that are learnt from: one that is left out must not choose its score.
            photos = self.shown.learnt.images
            return choose.quality(validation, photos, spec.noun, self.judges)

    def scores(self, file: Path, untouched: Mapping[str, PictureSet]) -> scores.Plain:
        """A checkpoint's scores by every metric, beside the base's own pictures."""
        spec = self.spec
        with self.spent.on("drawing"), Session(self.base) as session:
            (phrase,), _ = wear(session, file)
            of_subject = draw_sets(session, spec.extent.subject(spec.noun), phrase, spec.draw)
            others = draw_sets(session, spec.extent.beside(spec.noun), spec.noun, spec.draw)
        self.drawn += sum(len(each.flat) for each in (*of_subject.values(), *others.values()))
        evidence = Evidence(
            noun=spec.noun,
            photos=self.shown.compared,
            subject=of_subject,
            others=others,
            untouched=untouched,
            judges=self.judges,
            individual=self.shown.individual,
            learnt=self.shown.learnt.images,
        )
        with self.spent.on("scoring"):
            return compact(scores.score(evidence))

    def figures(self, file: Path) -> dict[str, list[str]]:
        """Pictures to look at."""
        found: dict[str, list[str]] = {}
        with Session(self.base) as session:
            (phrase,), _ = wear(session, file)
            for name, protocol in FIGURES.items():
                named = self.spec.noun if name == "class" else phrase
                pictures = draw_set(session, protocol, named, self.spec.draw)
                found[name] = [_picture(picture) for picture in pictures.flat]
        return found

    def class_by_the_base(self) -> list[str]:
        """The class as it was before, with the seeds of the figure of the class."""
        with Session(self.base) as session:
            pictures = draw_set(session, FIGURES["class"], self.spec.noun, self.spec.draw)
        return [_picture(picture) for picture in pictures.flat]


def method_of(spec: JobSpec) -> Method:
    """The method with the job's settings."""
    return find_method(spec.method)(**spec.settings)


def compact(found: scores.Plain) -> scores.Plain:
    """Scores without the numbers of single prompts, which would be three quarters of a record."""
    return {
        metric: {of: {"value": each["value"]} for of, each in by_kind.items()}
        for metric, by_kind in found.items()
    }


def _learn(
    base: Base,
    method: Method,
    subject: Subject,
    spec: JobSpec,
    files: Mapping[str, Path],
    spent: Spent,
) -> None:
    drawing = Drawing(**preset_for(spec.base).draw.options)
    images: Source = _Timed(Cached(folder=cache_folder(os.environ), drawing=drawing), spent)
    header = Header(
        base=base.identity,
        method=method.name,
        settings=spec.settings,
        seed=spec.seed,
        nouns=(subject.noun,),
        prompt=prompts.PLAIN,
        size=base.size,
        checkpoint="",
    )
    with Session(base) as session:
        for step in method.fit(session, [subject], Run(seed=spec.seed, class_images=images)):
            if step.stage == method.stages[-1] and str(step.done) in files:
                artifact.save(files[str(step.done)], step.snapshot(), header)


@dataclass
class _Timed(Source):
    source: Source
    spent: Spent

    def __call__(self, session: Session, prompt: str, count: int) -> Pixels:
        with self.spent.on("class images"):
            return self.source(session, prompt, count)


def _picture(pixels: Pixels) -> str:
    """A picture as WebP in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="WEBP", quality=QUALITY, method=6)
    return base64.b64encode(file.getvalue()).decode()


def _device(base: Base) -> str:
    if base.device.type == "cuda":
        return torch.cuda.get_device_name(base.device)
    return processor()


# A worker does many jobs with one base; what depends on the base alone is made once a process.


@cache
def _base(name: str, precision: str) -> Base:
    return open_base(name, precision=precision)


@cache
def _judges(name: str, device: str) -> Judges:
    return open_judges(name, device)


@lru_cache(2)  # jobs go subject by subject
def _untouched(base: Base, noun: str, extent: Extent, draw: DrawSettings) -> dict[str, PictureSet]:
    with Session(base) as session:
        return draw_sets(session, extent.beside(noun), noun, draw)
