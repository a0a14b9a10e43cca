"""A run on disk: where its files lie, and ``run.json``, which says what it is and how it went."""

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rarebooth.errors import ArtifactError, SettingsError
from rarebooth.store import unwritable, write_json, writing

STAGE_NAMES = ("stage-one", "stage-two", "stage-three")
"""Names of the checkpoints at the end of every stage but the last."""

LONGEST_NAME = 40
"""Letters of a name that is refused which are repeated."""

_NAME = re.compile("[a-z0-9][a-z0-9-]{0,63}")
"""What can be the name of a checkpoint, and so of a folder."""


@dataclass(frozen=True)
class RunFolder:
    """The layout of a run folder."""

    path: Path

    @property
    def record(self) -> Path:
        """``run.json``: settings, versions, hashes, seconds a phase, recommendation, status."""
        return self.path / "run.json"

    @property
    def subject(self) -> Path:
        """The recommended checkpoint."""
        return self.path / "subject.safetensors"

    @property
    def state(self) -> Path:
        """What a resume needs; gone once all steps are taken."""
        return self.path / "state"

    @property
    def steps(self) -> Path:
        """One JSON line a step."""
        return self.path / "steps.jsonl"

    @property
    def photos(self) -> Path:
        """Exactly the crops the network sees, side by side."""
        return self.path / "photos.png"

    def crop(self, subject: int, photo: int) -> Path:
        """One of these crops by itself, without loss; subjects and photos are counted from 1."""
        return self.path / "photos" / f"{subject}-{photo:02d}.png"

    def crops(self, subject: int) -> list[Path]:
        """The crops of a subject, in order; none in runs of before they were kept."""
        return sorted((self.path / "photos").glob(f"{subject}-*.png"))

    @property
    def scores(self) -> Path:
        """``scores.json``: what metrics say of the checkpoints."""
        return self.path / "scores.json"

    def drawn(self, checkpoint: str, name: str) -> Path:
        """The pictures of a set that a checkpoint was scored by, in one PNG: a row a prompt."""
        return self.path / "evaluation" / checkpoint / f"{name}.png"

    @property
    def first_picture(self) -> Path:
        """What stage one alone has learnt, drawn as soon as it is over."""
        return self.path / "first-picture.png"

    @property
    def sheet(self) -> Path:
        """Photos, the base's answer and every checkpoint in fixed scenes."""
        return self.path / "contact-sheet.png"

    def checkpoint(self, name: str) -> Path:
        """A checkpoint's subject file; ArtifactError for what can be no checkpoint's name."""
        if not _NAME.fullmatch(name):
            raise ArtifactError(
                f"{name[:LONGEST_NAME]!a} is no checkpoint's name; those are numbers of steps and "
                f"{', '.join(STAGE_NAMES)}."
            )
        return self.path / "checkpoints" / name / "subject.safetensors"

    def checkpoints(self) -> list[str]:
        """Names of the checkpoints on disk, in the order of training."""
        found = [file.parent.name for file in self.path.glob("checkpoints/*/subject.safetensors")]
        return sorted(found, key=_checkpoint_order)

    def read(self) -> dict[str, Any] | None:
        """The content of ``run.json``, or None where there is none."""
        try:
            return json.loads(self.record.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise unwritable(self.record, error) from error
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"{self.record} cannot be read ({error}). Remove the folder or choose another "
                "with --out."
            ) from error

    def write(self, record: Mapping[str, Any]) -> None:
        """Replace ``run.json``."""
        write_json(self.record, record)

    def prepare(self) -> None:
        """Create the folder; ResourceError where that cannot be done."""
        try:
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def sweep(self) -> None:
        """Remove what writes of a process that was killed have left beside their files."""
        inside = ("checkpoints/*", "photos", "evaluation/*")
        for pattern in (".*.part", *(f"{folder}/.*.part" for folder in inside)):
            for left in self.path.glob(pattern):
                left.unlink(missing_ok=True)
        for left in self.state.glob(".*"):
            shutil.rmtree(left, ignore_errors=True)

    def discard_state(self) -> None:
        """Remove what a resume would need, once all steps are taken."""
        shutil.rmtree(self.state, ignore_errors=True)

    def cut_steps(self, stages: tuple[str, ...], stage: str | None, done: int) -> None:
        """Drop the lines of steps that a resume will take again."""
        if not self.steps.is_file():
            return
        kept: list[str] = []
        last = stages.index(stage) if stage is not None else -1
        for line in self.steps.read_text("utf-8").splitlines():
            try:
                entry = json.loads(line)
                position = stages.index(entry["stage"])
            except (ValueError, KeyError, TypeError):
                break
            if position < last or (position == last and entry["step"] <= done):
                kept.append(line)
        with writing(self.steps) as beside:
            beside.write_text("".join(f"{line}\n" for line in kept), "utf-8")


def of_last_stage(checkpoints: Iterable[str]) -> list[str]:
    """Those of the named checkpoints that the last stage wrote, in the same order."""
    return [name for name in checkpoints if name not in STAGE_NAMES]


def subject_file(run_or_file: Path, checkpoint: str | None) -> Path:
    """The subject file that a path and a checkpoint's name mean.

    ``checkpoint``: None or "recommended" for the run's choice, else a name such as "200" or
    "stage-one". Raises ArtifactError naming the checkpoints there are.
    """
    if run_or_file.is_file():
        if checkpoint is not None:
            raise ArtifactError(
                f"{run_or_file.name} is one checkpoint's file; --checkpoint goes with a run folder."
            )
        return run_or_file
    folder = RunFolder(run_or_file)
    if not run_or_file.is_dir():
        raise ArtifactError(f"There is no run folder or subject file at {run_or_file}.")
    if checkpoint in {None, "recommended"}:
        path = folder.subject
    else:
        path = folder.checkpoint(str(checkpoint))
    if not path.is_file():
        known = ", ".join(folder.checkpoints()) or "none"
        raise ArtifactError(
            f"{run_or_file} has no {checkpoint or 'recommended'} checkpoint; it has: {known}."
        )
    return path


def _checkpoint_order(name: str) -> tuple[int, int]:
    if name in STAGE_NAMES:
        return (0, STAGE_NAMES.index(name))
    return (1, int(name) if name.isdigit() else 0)
