"""The whole exam, row by row, in the order of the table."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import rarebooth
from rarebooth.exam.autoencoder import autoencoder_rows
from rarebooth.exam.candidate import Candidate
from rarebooth.exam.distance import distance_row
from rarebooth.exam.examiner import Examiner
from rarebooth.exam.extent import Extent
from rarebooth.exam.following import following_rows
from rarebooth.exam.footprint import resolution_row, size_rows
from rarebooth.exam.judging import clip_row, dino_row
from rarebooth.exam.reading import BARS, reading_rows
from rarebooth.exam.row import Row, absent, percent
from rarebooth.exam.speed import speed_row
from rarebooth.exam.strangers import Renderer, photograph
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


def sit(candidate: Candidate, extent: Extent, helpers: Helpers | None = None) -> Iterator[Row]:
    """Measure everything; each row as soon as it is known."""
    by = helpers or Helpers()
    examiner = None
    if by.examiner.exists():
        examiner = Examiner.load(by.examiner, str(candidate.base.device))
    yield resolution_row(candidate)
    yield from autoencoder_rows(candidate, extent, by.renderer)
    if examiner is None:
        for question, bar in BARS.items():
            name = f"examiner on renders, {question}"
            yield absent(name, f"at least {percent(bar)}", "no examiner")
    else:
        yield from reading_rows(examiner, read_recipe(by.examiner), extent, by.renderer)
    yield from following_rows(candidate, examiner, extent)
    yield distance_row(candidate, examiner, extent, by.renderer)
    yield dino_row(by.judges / "dino", extent, by.renderer, candidate.base.size)
    yield clip_row(by.judges / "clip", extent, by.renderer, candidate.base.size)
    yield speed_row(candidate, extent)
    yield from size_rows(candidate, by.judges, PACKAGE)
