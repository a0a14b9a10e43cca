"""The photos of a job's subject: the miniature's, taken anew, or DreamBench's files."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from rarebooth.bench.plan import DREAMBENCH, JobSpec
from rarebooth.photos import SHORTEST_SIDE, Pixels
from rarebooth.subject import Subject, read_folder
from rarebooth.world.subjects import Individual, find, write_photos


@dataclass(frozen=True)
class Photographed:
    """A subject with its photos, and who it is where it is the miniature's.

    ``compared``: uint8 [R, S, S, 3], what likeness is measured against: the photos that are learnt
    from, or the one that was left out.
    """

    learnt: Subject
    compared: Pixels
    individual: Individual | None

    @classmethod
    def of(cls, subject: Subject, individual: Individual | None, *, leave_one_out: bool) -> Self:
        """Divide a subject's photos."""
        if not leave_one_out:
            return cls(subject, subject.images, individual)
        taught = replace(subject, photos=subject.photos[:-1])
        return cls(taught, subject.images[-1:], individual)


def photographed(spec: JobSpec, size: int) -> Photographed:
    """The subject of a job, its photos ``size`` pixels wide."""
    if spec.photos == "dreambench":
        folder = Path(os.environ[DREAMBENCH]) / spec.subject
        subject, individual = read_folder(folder, spec.noun, size), None
        return Photographed.of(subject, individual, leave_one_out=spec.leave_one_out)
    individual = find(spec.subject)
    with TemporaryDirectory(prefix="rarebooth-") as folder:
        write_photos(individual, Path(folder), max(size, SHORTEST_SIDE))
        subject = read_folder(Path(folder), spec.noun, size)
    return Photographed.of(subject, individual, leave_one_out=spec.leave_one_out)
