"""A run on disk: where its files lie, and ``run.json``, which says what it is and how it went."""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rarebooth.errors import LONGEST_PATH, ArtifactError, SettingsError
from rarebooth.run_files import NAME, read_record, read_steps
from rarebooth.store import STATE_NAME, unwritable, write_json, writing

AnyPath = str | os.PathLike[str]
"""A path as a person gives it to one of the functions of ``api``."""

STAGE_NAMES = ("stage-one", "stage-two", "stage-three")
"""Names of the checkpoints at the end of every stage but the last."""

LONGEST_NAME = 40
"""Letters of a name that is refused which are repeated."""

_NAME = re.compile(NAME)

_BESIDE = re.compile(r"\.(.+)\.[0-9]+(?:-[0-9a-f]+)?\.part")
"""What ``store.writing`` calls a file until it is complete."""

_WRITTEN = re.compile(
    r"run\.json|scores\.json|steps\.jsonl|report\.html|subject\.safetensors"
    r"|(photos|first-picture|contact-sheet)\.png|photos/[0-9]+-[0-9]+\.png"
    rf"|checkpoints/{NAME}/subject\.safetensors|evaluation/{NAME}/[a-z]+\.png"
)
"""The files of a run, as paths in its folder."""

_STATE_LEFT = re.compile(rf"\.part-{STATE_NAME.pattern}-[0-9]+|\.old-{STATE_NAME.pattern}")
"""What a process that was killed leaves of a state."""


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
        """The pictures of a set that a checkpoint was scored by, in one PNG: a row a prompt.

        ArtifactError for what can be no checkpoint's name.
        """
        _require_name(checkpoint)
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
        _require_name(name)
        return self.path / "checkpoints" / name / "subject.safetensors"

    def checkpoints(self) -> list[str]:
        """Names of the checkpoints on disk, in the order of training."""
        found = [file.parent.name for file in self.path.glob("checkpoints/*/subject.safetensors")]
        return sorted(found, key=_checkpoint_order)

    def read(self) -> dict[str, Any] | None:
        """The content of ``run.json``, or None where there is none.

        SettingsError where it is damaged: see ``run_files``.
        """
        try:
            return read_record(self.record)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise unwritable(self.record, error) from error
        except OSError as error:
            raise SettingsError(
                f"{self.record} cannot be read: {error.strerror}. Choose another folder with --out."
            ) from error

    def write(self, record: Mapping[str, Any]) -> None:
        """Replace ``run.json``."""
        write_json(self.record, record)

    @property
    def entries(self) -> list[Path]:
        """All that a run keeps beside its record, whether or not it is there."""
        folders = (self.path / name for name in ("checkpoints", "photos", "evaluation"))
        pictures = (self.photos, self.first_picture, self.sheet)
        return [*folders, self.state, self.steps, self.subject, self.scores, *pictures]

    def prepare(self) -> None:
        """Create the folder; ResourceError where that cannot be done.

        SettingsError where something in it is a link, through which a run would write elsewhere.
        """
        link = next((path for path in (self.record, *self.entries) if path.is_symlink()), None)
        if link is not None:
            raise SettingsError(
                f"{link} is a link to {link.readlink()}, and a run writes nothing outside its "
                "folder. Remove the link, or choose another folder with --out."
            )
        try:
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def sweep(self) -> None:
        """Remove what writes of a process that was killed have left beside their files.

        By the names that rarebooth gives, and no others: anything may lie in the folder.
        """
        inside = ("checkpoints/*", "photos", "evaluation/*")
        for pattern in (".*.part", *(f"{folder}/.*.part" for folder in inside)):
            for left in self.path.glob(pattern):
                name = _BESIDE.fullmatch(left.name)
                file = name and left.with_name(name[1]).relative_to(self.path).as_posix()
                if file and _WRITTEN.fullmatch(file):
                    with suppress(OSError):
                        left.unlink()
        for left in self.state.glob(".*"):
            if _STATE_LEFT.fullmatch(left.name):
                shutil.rmtree(left, ignore_errors=True)

    def discard_state(self) -> None:
        """Remove what a resume would need, once all steps are taken; nothing of another name."""
        for state in self.state.glob("*"):
            if STATE_NAME.fullmatch(state.name) or _STATE_LEFT.fullmatch(state.name):
                shutil.rmtree(state, ignore_errors=True)
        with suppress(OSError):
            self.state.rmdir()

    def cut_steps(self, stages: tuple[str, ...], stage: str | None, done: int) -> None:
        """Drop the lines of steps that a resume will take again, and what is damaged after them.

        SettingsError where a line of the steps before is damaged.
        """
        if not self.steps.is_file():
            return
        last = stages.index(stage) if stage is not None else -1

        def taken(entry: Mapping[str, Any]) -> bool:
            position = stages.index(entry["stage"]) if entry["stage"] in stages else len(stages)
            return position < last or (position == last and entry["step"] <= done)

        kept = read_steps(self.steps, taken)
        with writing(self.steps) as beside:
            beside.write_text("".join(f"{line}\n" for line, _ in kept), "utf-8")


def of_last_stage(checkpoints: Iterable[str]) -> list[str]:
    """Those of the named checkpoints that the last stage wrote, in the same order."""
    return [name for name in checkpoints if name not in STAGE_NAMES]


def subject_file(run_or_file: Path, checkpoint: str | None) -> Path:
    """The subject file that a path and a checkpoint's name mean.

    ``checkpoint``: None or "recommended" for the run's choice, else a name such as "200" or
    "stage-one". Raises ArtifactError naming the checkpoints there are.
    """
    try:
        is_file, is_folder = run_or_file.is_file(), run_or_file.is_dir()
    except OSError as error:
        shown = str(run_or_file)[:LONGEST_PATH]
        raise ArtifactError(
            f"{shown} cannot be read: {error.strerror}. Check the path and who may read it."
        ) from error
    if is_file:
        if checkpoint is not None:
            raise ArtifactError(
                f"{run_or_file.name} is one checkpoint's file; --checkpoint goes with a run folder."
            )
        return run_or_file
    folder = RunFolder(run_or_file)
    if not is_folder:
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


def _require_name(checkpoint: str) -> None:
    if not _NAME.fullmatch(checkpoint):
        raise ArtifactError(
            f"{checkpoint[:LONGEST_NAME]!a} is no checkpoint's name; those are numbers of steps "
            f"and {', '.join(STAGE_NAMES)}."
        )


def _checkpoint_order(name: str) -> tuple[int, int]:
    if name in STAGE_NAMES:
        return (0, STAGE_NAMES.index(name))
    return (1, int(name) if name.isdigit() else 0)
