"""The whole exam, row by row, in the order of the table."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Final

import rarebooth
from rarebooth.exam.autoencoder import autoencoder_rows
from rarebooth.exam.candidate import Candidate
from rarebooth.exam.distance import NAME as DISTANCE
from rarebooth.exam.distance import distance_row
from rarebooth.exam.extent import Extent
from rarebooth.exam.following import BARS as DRAWN
from rarebooth.exam.following import following_rows
from rarebooth.exam.footprint import resolution_row, size_rows
from rarebooth.exam.judging import clip_row, dino_row
from rarebooth.exam.reading import BARS as READ
from rarebooth.exam.reading import reading_rows
from rarebooth.exam.row import Row, absent, percent
from rarebooth.exam.speed import BATCH, STEPS, speed_row
from rarebooth.exam.strangers import Renderer, photograph
from rarebooth.metrics.encoders.examiner import Examiner
from rarebooth.pretrain.judges.exam import CAPTIONS
from rarebooth.pretrain.recipe import read_recipe

PACKAGE: Final = Path(str(resources.files(rarebooth)))


@dataclass(frozen=True)
class Helpers:
    """Where the examiner and the judges lie, and who renders the truth; by default the package's.

    What is missing makes its rows say so.
    """

    examiner: Path = PACKAGE / "assets" / "examiner"
    judges: Path = PACKAGE / "assets" / "judges"
    renderer: Renderer = photograph


@dataclass(frozen=True)
class Sitting:
    """What rows are measured from. The examiner is read when a row first needs it."""

    candidate: Candidate
    extent: Extent
    helpers: Helpers

    @cached_property
    def examiner(self) -> Examiner | None:
        """None where there is none."""
        if not self.helpers.examiner.exists():
            return None
        return Examiner.load(self.helpers.examiner, str(self.candidate.base.device))


@dataclass(frozen=True)
class Part:
    """Rows that can only be measured together: their names, in order, and how."""

    names: tuple[str, ...]
    measure: Callable[[Sitting], Iterable[Row]]


def _reading(at: Sitting) -> Iterator[Row]:
    if at.examiner is None:
        for question, bar in READ.items():
            name = f"examiner on renders, {question}"
            yield absent(name, f"at least {percent(bar)}", "no examiner")
    else:
        recipe = read_recipe(at.helpers.examiner)
        yield from reading_rows(at.examiner, recipe, at.extent, at.helpers.renderer)


def _distance(at: Sitting) -> Iterator[Row]:
    yield distance_row(at.candidate, at.examiner, at.extent, at.helpers.renderer)


def _dino(at: Sitting) -> Iterator[Row]:
    by, size = at.helpers, at.candidate.base.size
    yield dino_row(by.judges / "dino", at.extent, by.renderer, size)


def _clip(at: Sitting) -> Iterator[Row]:
    by, size = at.helpers, at.candidate.base.size
    yield clip_row(by.judges / "clip", at.extent, by.renderer, size)


PARTS: Final = (
    Part(("resolution",), lambda at: [resolution_row(at.candidate)]),
    Part(
        ("autoencoder PSNR, whole", "autoencoder PSNR, toy"),
        lambda at: autoencoder_rows(at.candidate, at.extent, at.helpers.renderer),
    ),
    Part(tuple(f"examiner on renders, {question}" for question in READ), _reading),
    Part(
        tuple(f"base, {question}" for question in DRAWN),
        lambda at: following_rows(at.candidate, at.examiner, at.extent),
    ),
    Part((DISTANCE,), _distance),
    Part(("DINO judge, triplets",), _dino),
    Part((f"CLIP judge, {CAPTIONS} captions",), _clip),
    Part(
        (f"generation, batch {BATCH}, {STEPS} steps",),
        lambda at: [speed_row(at.candidate, at.extent)],
    ),
    Part(
        ("size of the base", "size of the judges", "size of the working tree"),
        lambda at: size_rows(at.candidate, at.helpers.judges, PACKAGE),
    ),
)

ROWS: Final = tuple(name for part in PARTS for name in part.names)
"""The names of all rows, in the order of the table."""


def sit(
    candidate: Candidate,
    extent: Extent,
    helpers: Helpers | None = None,
    known: Mapping[str, Row] | None = None,
) -> Iterator[Row]:
    """All rows, each as soon as it is known.

    ``known``: rows of an earlier sitting, by name. A part is measured unless all its rows are.
    """
    sitting, known = Sitting(candidate, extent, helpers or Helpers()), known or {}
    for part in PARTS:
        if all(name in known for name in part.names):
            yield from (known[name] for name in part.names)
        else:
            yield from part.measure(sitting)
