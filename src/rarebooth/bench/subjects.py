"""The photos of a job's subject: the miniature's, taken anew, or DreamBench's files."""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rarebooth.bench.plan import DREAMBENCH, JobSpec
from rarebooth.photos import SHORTEST_SIDE
from rarebooth.subject import Subject, read_folder
from rarebooth.world.subjects import Individual, find, write_photos


@dataclass(frozen=True)
class Photographed:
    """A subject with its photos, and who it is where it is the miniature's."""

    subject: Subject
    individual: Individual | None


def photographed(spec: JobSpec, size: int) -> Photographed:
    """The subject of a job, its photos ``size`` pixels wide."""
    if spec.photos == "dreambench":
        folder = Path(os.environ[DREAMBENCH]) / spec.subject
        return Photographed(read_folder(folder, spec.noun, size), None)
    individual = find(spec.subject)
    with TemporaryDirectory(prefix="rarebooth-") as folder:
        write_photos(individual, Path(folder), max(size, SHORTEST_SIDE))
        return Photographed(read_folder(Path(folder), spec.noun, size), individual)
