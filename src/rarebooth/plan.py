"""A training that has been checked from end to end and has not begun."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rarebooth.base import Base
from rarebooth.bases import open_base
from rarebooth.errors import PhotosError, SettingsError
from rarebooth.folder import STAGE_NAMES, RunFolder
from rarebooth.methods import find as find_method
from rarebooth.photos import is_miniature
from rarebooth.run import Step
from rarebooth.settings import Resolved, differences, preset_for, resolve
from rarebooth.subject import Subject, read_folder

SMALLEST = 1
"""Side in pixels at which photos are read only to see whether they can be."""


@dataclass(frozen=True)
class Plan:
    """A training that has been checked from end to end and has not begun.

    ``earlier``: the content of ``run.json`` if the folder holds the same run, begun or finished.
    ``base_asked``: the base as it was asked for, a path where it is a folder; never written down.
    """

    subject: Subject
    base: Base
    settings: Resolved
    folder: RunFolder
    earlier: Mapping[str, Any] | None
    base_asked: str

    @property
    def finished(self) -> bool:
        """Whether the folder already holds the finished run."""
        return self.earlier is not None and self.earlier["status"] == "finished"

    def checkpoint_name(self, step: Step) -> str | None:
        """The name of the checkpoint that this step is due to write, or None."""
        stages = self.settings.method.stages
        position = stages.index(step.stage)
        if position < len(stages) - 1:
            return STAGE_NAMES[position] if step.done == step.total else None
        due = step.done % self.settings.train.checkpoint_every == 0 or step.done == step.total
        return str(step.done) if due else None


def plan(
    photos: Path,
    flags: Mapping[str, Any],
    *,
    out: Path | None = None,
    environment: Mapping[str, Any] | None = None,
    file: Mapping[str, Any] | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Check photos, settings, base and folder; nothing is written.

    ``flags``, ``environment`` and ``file`` are settings by name, in falling rank (see
    ``settings``). Raises the RareboothError that says what is wrong.
    """
    told = {key: value for key, value in flags.items() if value is not None}
    given = {**(file or {}), **(environment or {}), **told}
    kind = find_method(str(given.get("method") or "two-stage"))
    if not photos.is_dir():
        raise PhotosError(f"There is no folder of photos at {photos}.")
    asked = str(given.get("base") or _base_of_miniature(photos))
    layers = {"flag": flags, "environment": environment or {}, "file": file or {}}
    named = {"method": kind.name, "base": _base_name(asked)}
    settings = resolve(
        kind, {**flags, **named}, layers["environment"], layers["file"], preset_for(asked)
    )
    origin = {
        key: next((rank for rank, layer in layers.items() if layer.get(key)), "default")
        for key in named
    }
    settings = replace(settings, origin={**settings.origin, **origin})
    train_settings = settings.train
    # Before the base, which may be a download of gigabytes.
    read_folder(photos, train_settings.noun, SMALLEST)
    base = open_base(
        asked,
        device=train_settings.device,
        precision=train_settings.precision,
        resolution=train_settings.resolution,
        notice=notice,
    )
    subject = read_folder(photos, train_settings.noun, base.size)
    folder = RunFolder(out or Path("runs") / f"{photos.resolve().name}-{kind.name}")
    return Plan(subject, base, settings, folder, _earlier(folder, settings, base, subject), asked)


def _base_name(asked: str) -> str:
    """A base as a record may name it: a folder by its name alone."""
    folder = Path(asked)
    return folder.resolve().name if asked != "embedded" and folder.is_dir() else asked


def _base_of_miniature(photos: Path) -> str:
    """The embedded base for photos that the miniature world rendered; SettingsError otherwise."""
    if _all_miniature(photos):
        return "embedded"
    raise SettingsError(
        "No base model was named, and these are photos of the real world. Use --base sd21 (Stable "
        "Diffusion 2.1 base: about 5 GB to download once, CreativeML Open RAIL++-M licence, a GPU "
        "with about 20 GB for full fine-tuning), or --base embedded for a rehearsal on the small "
        "model that comes with rarebooth, which only knows a miniature world."
    )


def _all_miniature(photos: Path) -> bool:
    files = [file for file in photos.iterdir() if file.is_file() and file.suffix == ".png"]
    return bool(files) and all(is_miniature(file) for file in files)


def _earlier(
    folder: RunFolder, settings: Resolved, base: Base, subject: Subject
) -> dict[str, Any] | None:
    earlier = folder.read()
    if earlier is None:
        return None
    now = {**settings.as_record(), "base_digest": base.identity.digest, "photos": subject.digest}
    before = {
        **earlier["settings"],
        "base_digest": earlier["base"]["digest"],
        "photos": earlier["photos"]["digest"],
    }
    changed = differences(before, json.loads(json.dumps(now)))
    if changed:
        raise SettingsError(
            f"{folder.path} holds a run with other settings ({'; '.join(changed)}). Choose another "
            "folder with --out, or repeat the earlier settings to continue it."
        )
    return earlier
