"""A training that has been checked and has not begun: first without its base, then with it."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from rarebooth import costs, defaults, hub
from rarebooth.base import Base, Session
from rarebooth.bases import open_base
from rarebooth.bases.device import pick_device, pick_precision
from rarebooth.class_images import folder_digest
from rarebooth.errors import ResourceError, SettingsError
from rarebooth.folder import STAGE_NAMES, AnyPath, RunFolder, of_last_stage
from rarebooth.method import Method
from rarebooth.methods import find as find_method
from rarebooth.optimisers import eight_bit
from rarebooth.photos import world_mark
from rarebooth.probe import learnt_from
from rarebooth.run import Step
from rarebooth.settings import Resolved, TrainSettings, differences, preset_for, resolve
from rarebooth.store import require_free
from rarebooth.subject import Subject, checked_noun, read_folder

SMALLEST = 1
"""Side in pixels at which photos are read only to see whether they can be."""

CHECKPOINT_BYTES = 2
"""Bytes a checkpoint takes for each number that is trained: fp16, of changes to whole weights."""

WEIGHT_BYTES = 4
"""Bytes of each number that is trained, and of its gradient: fp32."""

MOMENTS_BYTES = 2 * 4
"""Bytes of AdamW's moments for each number that is trained: fp32."""

EIGHT_BIT_BYTES = 2 * (1 + 4 / 256)
"""The same with low_memory: a byte each, and an fp32 scale for every 256 of them."""

MOST_STATES = 2
"""States on disk at once: the one before stays until the next is written."""

STATE_SECONDS = 60.0
"""Seconds of training that may be lost, where nobody says otherwise, before a state is worth it."""

FREE_TO_CHANGE = frozenset(
    {"choose", "device", "gradient_checkpointing", "previews", "save_state_every"}
)
"""Settings in which a run that continues may differ: they do not change what is learnt."""


NOT_THEN: Mapping[str, Any] = {
    "choose": "last",
    "probe_every": 0,
    "patience": 0,
    "gradient_checkpointing": False,
    "split_batches": False,
    "low_memory": False,
    "compile": False,
}
"""Settings that runs of earlier versions had not, and what they did without them."""


@dataclass(frozen=True)
class Draft:
    """A training whose photos and settings are checked, and whose base was not opened.

    ``subjects``: read at one pixel, for their names. ``base_asked``: the base as it was asked for,
    a path where it is a folder; like ``photos_at`` and ``class_photos_at`` never written down.
    """

    subjects: tuple[Subject, ...]
    settings: Resolved
    folder: RunFolder
    base_asked: str
    photos_at: tuple[Path, ...]
    class_photos_at: Path | None

    @property
    def lengths(self) -> Mapping[str, int | None]:
        """Updates of every stage, in order; None where the method does not say."""
        return self.settings.method.lengths()

    @property
    def taught(self) -> tuple[Subject, ...]:
        """The subjects as training sees them: the first without the photo that probes look at."""
        if not self.settings.train.probe_every:
            return self.subjects
        first, *others = self.subjects
        return (replace(first, photos=learnt_from(first.photos)), *others)

    def checkpoint_due(self, stage: str, done: int, total: int) -> str | None:
        """The name of the checkpoint to write after a step, or None: the only place that decides.

        Every stage but the last writes one at its end; the last also on its way.
        """
        stages = self.settings.method.stages
        position = stages.index(stage)
        if position < len(stages) - 1:
            return STAGE_NAMES[position] if done == total else None
        due = done % self.settings.train.checkpoint_every == 0 or done == total
        return str(done) if due else None

    def checkpoint_name(self, step: Step) -> str | None:
        """The name of the checkpoint that this step is due to write, or None."""
        return self.checkpoint_due(step.stage, step.done, step.total)

    @property
    def checkpoints(self) -> list[str]:
        """The checkpoints that the run will leave, in order, where the method says its steps."""
        return [
            name
            for stage, total in self.lengths.items()
            for done in range(1, (total or 0) + 1)
            if (name := self.checkpoint_due(stage, done, total or 0)) is not None
        ]

    def unjudged(self, checkpoints: Sequence[str]) -> str | None:
        """Why none of these checkpoints needs to be judged, or None where they shall be."""
        if self.settings.train.choose == "last":
            return "it is the last, as was asked for"
        if len(of_last_stage(checkpoints)) == 1:
            return "there is no other"
        return "of several subjects, it is the last" if len(self.subjects) > 1 else None

    def open(
        self, notice: Callable[[str], None] = lambda _: None, opened: Base | None = None
    ) -> "Plan":
        """Open the base, downloading it where it is not here, and read the photos at its size.

        ``opened``: a base to use instead, as one stays for many subjects; SettingsError where it is
        another than these settings ask for.
        """
        train = self.settings.train
        if opened is not None:
            _require_asked_for(opened, train)
        base = opened or open_base(
            self.base_asked,
            device=train.device,
            precision=train.precision,
            resolution=train.resolution,
            notice=notice,
        )
        if self.settings.method.new_word is not None:
            base.check_token(self.settings.method.new_word)
        subjects = tuple(
            read_folder(folder, subject.noun, base.size)
            for folder, subject in zip(self.photos_at, self.subjects, strict=True)
        )
        job = Plan(
            subjects,
            self.settings,
            self.folder,
            self.base_asked,
            self.photos_at,
            self.class_photos_at,
            base,
            earlier=None,
        )
        return job.seen_again()


@dataclass(frozen=True)
class Plan(Draft):
    """A training that has been checked from end to end and has not begun.

    ``subjects``: read at the base's size. ``earlier``: the content of ``run.json`` if the folder
    holds the same run, begun or finished.
    """

    base: Base
    earlier: Mapping[str, Any] | None

    def seen_again(self) -> "Plan":
        """The same plan by what its folder holds now; SettingsError where that is another run."""
        return replace(self, earlier=_earlier(self))

    def prepare(self, session: Session, notice: Callable[[str], None]) -> None:
        """Have the session's base step as the settings say, until it is given back."""
        train = self.settings.train
        if train.recomputes:
            session.lend(self.base.recomputing())
        if train.compile:
            session.lend(self.base.compiled(notice))

    @property
    def photos_digest(self) -> str:
        """SHA-256, in hex, of all photos as they are cropped."""
        digests = [subject.digest for subject in self.subjects]
        return digests[0] if len(digests) == 1 else sha256("\n".join(digests).encode()).hexdigest()

    @property
    def class_photos_digest(self) -> str | None:
        """SHA-256, in hex, of the real pictures of the class, where a folder of them is given."""
        return None if self.class_photos_at is None else folder_digest(self.class_photos_at)

    @property
    def finished(self) -> bool:
        """Whether the folder already holds the finished run."""
        done = self.earlier is not None and self.earlier["status"] == "finished"
        return done and self.folder.subject.is_file()

    @property
    def disk_needed(self) -> int:
        """Bytes that the run takes at its largest, pictures not counted.

        The base's weights are trained in the last stage, so that only its states count, and one
        more, which an interruption writes. They are gone by the time that the recommended
        checkpoint is copied.
        """
        whole = len(of_last_stage(self.checkpoints))
        states = self.state_bytes * min(MOST_STATES, self.states + 1)
        each = self.checkpoint_bytes
        return int(self.trained * (each * whole + max(states, each)))

    @property
    def memory_needed(self) -> int:
        """Bytes of memory for what is trained alone; the pictures in work come on top."""
        gradients = 0 if self.settings.train.low_memory else WEIGHT_BYTES
        return int(self.trained * (WEIGHT_BYTES + gradients + self._moments))

    @property
    def disk_free(self) -> int:
        """Bytes that are free where the run will lie, and those that it holds there already."""
        held = sum(file.stat().st_size for file in self.folder.path.rglob("*") if file.is_file())
        return shutil.disk_usage(self.place).free + held

    def require_room(self) -> None:
        """Raise ResourceError where the disk cannot hold the run at its largest."""
        needed, free = self.disk_needed, self.disk_free
        if needed > free:
            raise ResourceError(
                f"The run takes about {needed / 1e9:.2f} GB of disk while it trains, and "
                f"{free / 1e9:.2f} GB are free for {self.folder.path}. Make room, choose another "
                "disk with --out, or keep fewer checkpoints with a larger --checkpoint-every."
            )

    @property
    def place(self) -> Path:
        """The folder of the run, or the nearest above it that is there."""
        path = self.folder.path.absolute()
        return next(each for each in (path, *path.parents) if each.is_dir())

    @property
    def trained(self) -> int:
        """How many numbers of the base's weights are trained."""
        return self.settings.method.trained(self.base)

    @property
    def state_bytes(self) -> float:
        """Bytes a state takes for each number that is trained."""
        return WEIGHT_BYTES + self._moments

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes a checkpoint takes for each number that is trained; adapters are not halved."""
        return WEIGHT_BYTES if getattr(self.settings.method, "rank", 0) else CHECKPOINT_BYTES

    @property
    def states(self) -> int:
        """States that the last stage writes, none of them at its end; where it can be known."""
        steps = self.lengths[self.settings.method.stages[-1]]
        if steps is None:
            return MOST_STATES
        return (steps - 1) // self.settings.train.save_state_every

    @property
    def state_seconds(self) -> float:
        """Seconds between two states at least, but for those at a stage's end or a stop.

        0 where the steps between them were asked for: those are kept exactly.
        """
        return 0.0 if "save_state_every" in self.settings.origin else STATE_SECONDS

    @property
    def all_taken(self) -> bool:
        """Whether no step is left: only the choice of a checkpoint, or the contact sheet."""
        name = (self.earlier or {}).get("recommended")
        return name is not None and self.folder.checkpoint(name).is_file()

    @property
    def _moments(self) -> float:
        return EIGHT_BIT_BYTES if self.settings.train.low_memory else MOMENTS_BYTES


def draft(
    photos: AnyPath | Sequence[AnyPath],
    flags: Mapping[str, Any],
    *,
    out: AnyPath | None = None,
    class_photos: AnyPath | None = None,
    environment: Mapping[str, Any] | None = None,
    file: Mapping[str, Any] | None = None,
) -> Draft:
    """Check photos, settings and folder without a base; nothing is written or downloaded.

    ``photos``: a folder, or one for each of several subjects. ``class_photos``: a folder of real
    pictures of the class, for methods that train on some, in place of drawn ones. ``flags``,
    ``environment`` and ``file`` are settings by name, in falling rank (see ``settings``). Raises
    the RareboothError that says what is wrong; photos are judged first.
    """
    named_photos = (photos,) if isinstance(photos, str | PathLike) else photos
    folders = tuple(Path(each) for each in named_photos)
    class_folder = None if class_photos is None else Path(class_photos)
    layers = {"flag": flags, "environment": environment or {}, "file": file or {}}
    given: dict[str, Any] = {}
    for layer in reversed(layers.values()):
        given |= {key: value for key, value in layer.items() if value is not None}
    kind = find_method(str(given.get("method") or defaults.METHOD))
    # The noun is judged with the other settings; until then any will do.
    subjects = [read_folder(folder, "subject", SMALLEST) for folder in folders]
    asked = str(given.get("base") or _base_of_miniature(folders, subjects))
    named = {"method": kind.name, "base": hub.name_of(asked)}
    settings = resolve(
        kind, {**flags, **named}, layers["environment"], layers["file"], preset_for(asked)
    )
    origin = {
        key: next((rank for rank, layer in layers.items() if layer.get(key)), "default")
        for key in named
    }
    settings = replace(settings, origin={**settings.origin, **origin})
    train = settings.train
    nouns = _nouns(train.noun, len(folders), settings.method)
    if class_folder is not None and not settings.method.prior_images:
        raise SettingsError(
            f"A folder of class photos was named, and {kind.name} trains on none here. Leave it "
            "out, or use a method with prior preservation and --prior true."
        )
    # Before the base, which may be a download of gigabytes.
    device = pick_device(train.device)
    pick_precision(train.precision, device)
    if train.low_memory:
        eight_bit(device)
    name = "+".join(folder.resolve().name for folder in folders)
    folder = RunFolder(Path(out or Path("runs", f"{name}-{kind.name}")))
    for each in (*folders, *([] if class_folder is None else [class_folder])):
        _require_apart(folder.path, each)
    named_subjects = tuple(
        replace(subject, noun=noun) for subject, noun in zip(subjects, nouns, strict=True)
    )
    return Draft(named_subjects, settings, folder, asked, folders, class_folder)


def plan(
    photos: AnyPath | Sequence[AnyPath],
    flags: Mapping[str, Any],
    *,
    out: AnyPath | None = None,
    class_photos: AnyPath | None = None,
    environment: Mapping[str, Any] | None = None,
    file: Mapping[str, Any] | None = None,
    notice: Callable[[str], None] = lambda _: None,
    opened: Base | None = None,
) -> Plan:
    """Check photos, settings, base, folder and disk; nothing is written but a base's download.

    Arguments and errors are those of ``draft``, and what ``open_base`` raises; ResourceError where
    the disk is too small. ``opened``: a base that is open already, as another plan's ``base`` is.
    """
    asked = draft(
        photos, flags, out=out, class_photos=class_photos, environment=environment, file=file
    )
    job = asked.open(notice, opened)
    if not job.finished:
        require_free(job.folder.path)
        job.require_room()
    return job


def _nouns(text: str, count: int, method: Method) -> list[str]:
    """One class noun for each folder of photos; SettingsError where they do not fit."""
    nouns = [checked_noun(noun) for noun in text.split(",")]
    if count > 1 and not method.several:
        raise SettingsError(
            f"{count} folders of photos were named, and {method.name} learns one subject at a "
            "time. Train them one by one, or use --method custom-diffusion."
        )
    if len(nouns) != count:
        raise SettingsError(
            f"{count} folders of photos were named and {len(nouns)} nouns: {', '.join(nouns)}. "
            'Give one noun a folder, in their order, as in --noun "dog, cat".'
        )
    for noun in nouns:
        method.check_noun(noun)
    return nouns


def _base_of_miniature(folders: Sequence[Path], subjects: Sequence[Subject]) -> str:
    """The embedded base for photos that the miniature world rendered; SettingsError otherwise."""
    photos = [
        folder / photo.name
        for folder, subject in zip(folders, subjects, strict=True)
        for photo in subject.photos
    ]
    if None not in map(world_mark, photos):
        return defaults.EMBEDDED
    raise SettingsError(
        "No base model was named, and these are photos of the real world. Use --base sd21: Stable "
        f"Diffusion 2.1 base, about {costs.SD21_DOWNLOAD / 1e9:.0f} GB to download once, licence "
        "CreativeML Open RAIL++-M; full fine-tuning takes about "
        f"{costs.SD21_DISK / 1e9:.0f} GB of disk, and {costs.SD21_MEMORY_CPU / 1e9:.1f} GB of "
        "memory on a CPU at 256 pixels (measured) or about "
        f"{costs.SD21_MEMORY_GPU / 1e9:.0f} GB on a GPU at 512 (estimated). Or --base embedded, "
        "for a rehearsal on the small model that comes with rarebooth, which only knows a "
        "miniature world."
    )


def _require_asked_for(base: Base, train: TrainSettings) -> None:
    """Raise SettingsError where an open base is not the one that the settings ask for."""
    device = pick_device(train.device)
    found = base.device if ":" in str(device) else torch.device(base.device.type)
    pairs = {
        "base": (base.identity.name, train.base),
        "device": (found, device),
        "precision": (base.precision, pick_precision(train.precision, device)),
        "resolution": (base.size, train.resolution or base.size),
    }
    other = [f"{key} is {has}, not {asked}" for key, (has, asked) in pairs.items() if has != asked]
    if other:
        raise SettingsError(
            f"The base that is open is not the one asked for: {'; '.join(other)}. Open another, or "
            "leave it out."
        )


def _require_apart(out: Path, photos: Path) -> None:
    """Raise SettingsError where a run would write into the folder of photos, or around it."""
    theirs, ours = photos.resolve(), out.resolve()
    if ours.is_relative_to(theirs):
        raise SettingsError(
            f"The run folder {out} is the folder of photos or lies in it, and nothing is ever "
            f"written there. Name one outside, such as --out {theirs.parent / 'runs' / out.name}."
        )
    if theirs.is_relative_to(ours):
        raise SettingsError(
            f"The photos lie in the run folder {out}, where a run writes and removes files. "
            f"Name another, such as --out {ours / 'runs' / photos.name}."
        )


def _require_nothing_of_a_run(folder: RunFolder) -> None:
    """Raise SettingsError where a folder without a record holds what a run would write over."""
    found = next((path for path in folder.entries if _holds_something(path)), None)
    if found is not None:
        raise SettingsError(
            f"{folder.path} holds {found.name}, where a run keeps files of its own, and no "
            f"{folder.record.name} that says of which run it is. Choose another folder with --out, "
            "or move it away."
        )


def _holds_something(path: Path) -> bool:
    """Whether a file is there, or a folder with something in it."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _earlier(job: Plan) -> dict[str, Any] | None:
    """The record of the same run in its folder; SettingsError where it is of another one."""
    folder = job.folder
    earlier = folder.read()
    if earlier is None:
        _require_nothing_of_a_run(folder)
        return None
    now = {
        **job.settings.as_record(),
        "base_digest": job.base.identity.digest,
        "photos": job.photos_digest,
        "class_photos": job.class_photos_digest,
    }
    try:
        before = {
            **NOT_THEN,
            **earlier["settings"],
            "base_digest": earlier["base"]["digest"],
            "photos": earlier["photos"]["digest"],
            "class_photos": earlier["class_photos"],
        }
        finished = earlier["status"] == "finished"
        dict(earlier["seconds"])
        list(earlier["resumed_from"])
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(
            f"{folder.record} is not the record of a run of this version of rarebooth. Choose "
            "another folder with --out."
        ) from error
    # A finished run draws and chooses nothing any more: asking for that is asking for another run.
    free = FREE_TO_CHANGE - {"choose", "previews"} if finished else FREE_TO_CHANGE
    kept = json.loads(json.dumps(now))
    if not finished and "precision" in earlier:
        # "auto" is another one on another device, and what is learnt would be a mixture of both.
        before["precision"], kept["precision"] = earlier["precision"], job.base.precision
    before |= {key: kept[key] for key in free & kept.keys()}
    changed = differences(before, kept)
    if changed:
        raise SettingsError(
            f"{folder.path} holds a run with other settings ({'; '.join(changed)}). Choose another "
            "folder with --out, or repeat the earlier settings to continue it."
        )
    return earlier
