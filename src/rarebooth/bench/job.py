"""One job of a benchmark: a subject is learnt once and scored at its checkpoints."""

import base64
import io
import os
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
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
from rarebooth.bench.subjects import photographed
from rarebooth.catalogue import cost
from rarebooth.class_images import Cached, Drawing, Source, cache_folder
from rarebooth.evidence import draw_set, draw_sets
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
"""JPEG quality of pictures in a record, which is read by people."""


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


def run_job(spec: JobSpec) -> dict[str, Any]:
    """Learn the subject, choose a checkpoint, score; what a record holds of it, as plain data."""
    base, judges, spent = _base(spec.base), _judges(spec.base), Spent()
    shown = photographed(spec, base.size)
    method = method_of(spec)
    with TemporaryDirectory(prefix="rarebooth-") as folder:
        files = {name: Path(folder) / f"{name}.safetensors" for name in map(str, spec.checkpoints)}
        with spent.on("training"):
            _learn(base, method, shown.subject, spec, files, spent)
        # Images of the class are drawn inside training, and are no part of its own time.
        for seconds in (spent.cpu, spent.clock):
            seconds["training"] = round(seconds["training"] - seconds.get("class images", 0.0), 2)
        qualities: dict[str, choose.Quality] = {}
        for name, file in files.items():
            with spent.on("drawing"), Session(base) as session:
                phrase = _wear(session, file)
                validation = draw_set(session, spec.extent.choosing(), phrase, spec.draw)
            with spent.on("scoring"):
                images = shown.subject.images
                qualities[name] = choose.quality(validation, images, spec.noun, judges)
        chosen = {"fixed": str(spec.fixed), "held-out": choose.held_out(qualities)}
        in_full = list(files) if spec.score == "all" else list(dict.fromkeys(chosen.values()))
        checkpoints: dict[str, dict[str, Any]] = {}
        drawn = len(files) * spec.extent.choosing().pictures
        for name, file in files.items():
            about = checkpoints.setdefault(name, {})
            about["validation"] = {
                key: round(number, scores.DIGITS) for key, number in asdict(qualities[name]).items()
            }
            if name in in_full:
                with spent.on("drawing"), Session(base) as session:
                    phrase = _wear(session, file)
                    of_subject = draw_sets(
                        session, spec.extent.subject(spec.noun), phrase, spec.draw
                    )
                    others = draw_sets(session, spec.extent.beside(spec.noun), spec.noun, spec.draw)
                drawn += _count(of_subject) + _count(others)
                with spent.on("drawing"):
                    untouched = _untouched(spec.base, spec.noun, spec.extent, spec.draw)
                evidence = Evidence(
                    spec.noun,
                    shown.subject.images,
                    of_subject,
                    others,
                    untouched,
                    judges,
                    shown.individual,
                )
                with spent.on("scoring"):
                    about["scores"] = compact(scores.score(evidence))
            if spec.pictures:
                with Session(base) as session:
                    about["pictures"] = _figures(session, file, spec)
    taken = cost(method)
    return {
        "conventions": scores.conventions(judges),
        "templates": {n: list(p.templates) for n, p in spec.extent.subject(spec.noun).items()},
        "chosen": chosen,
        "checkpoints": checkpoints,
        "photos": [_picture(photo) for photo in shown.subject.images] if spec.pictures else [],
        "cost": {
            "samples": taken.samples,
            "class_images": taken.class_images,
            "unet_pictures_training": taken.samples,
            "unet_pictures_class_images": taken.class_images * preset_for(spec.base).draw.forwards,
            "unet_pictures_drawing": drawn * spec.draw.forwards,
            "cpu_seconds": spent.cpu,
            "seconds": spent.clock,
            "threads": torch.get_num_threads(),
            "device": _device(base),
        },
    }


def method_of(spec: JobSpec) -> Method:
    """The method with the job's settings."""
    return find_method(spec.method)(**spec.settings)


def compact(found: scores.Plain) -> scores.Plain:
    """Scores with the numbers of prompts as a list, in the protocol's order."""
    return {
        metric: {
            of: {
                key: list(content.values()) if key == "prompts" else content
                for key, content in each.items()
            }
            for of, each in by_kind.items()
        }
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


def _wear(session: Session, file: Path) -> str:
    learnt = artifact.load(file).delta
    session.wear(learnt)
    return learnt.phrases[0]


def _figures(session: Session, file: Path, spec: JobSpec) -> dict[str, list[str]]:
    phrase = _wear(session, file)
    found: dict[str, list[str]] = {}
    for name, protocol in FIGURES.items():
        named = spec.noun if name == "class" else phrase
        pictures = draw_set(session, protocol, named, spec.draw)
        found[name] = [_picture(picture) for picture in pictures.flat]
    return found


def _picture(pixels: Pixels) -> str:
    """A picture as JPEG in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=QUALITY)
    return base64.b64encode(file.getvalue()).decode()


def _count(sets: Mapping[str, PictureSet]) -> int:
    return sum(len(each.flat) for each in sets.values())


def _device(base: Base) -> str:
    if base.device.type == "cuda":
        return torch.cuda.get_device_name(base.device)
    return _cpu_name()


def _cpu_name() -> str:
    try:
        lines: Iterable[str] = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return "cpu"
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "cpu"
    )


# A worker does many jobs with one base; what depends on the base alone is made once a process.


@cache
def _base(name: str) -> Base:
    return open_base(name)


@cache
def _judges(name: str) -> Judges:
    return open_judges(name, str(_base(name).device))


@cache
def _untouched(name: str, noun: str, extent: Extent, draw: DrawSettings) -> dict[str, PictureSet]:
    with Session(_base(name)) as session:
        return draw_sets(session, extent.beside(noun), noun, draw)
