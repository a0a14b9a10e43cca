"""A benchmark's plan: what is compared on which subjects, and the jobs that follow from it.

Jobs are ordered subject by subject, so that whatever is done after any time is a table of its own:
the same subjects for every entry.
"""

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_type_hints

import pydantic

from rarebooth import hub
from rarebooth.class_images import folder_digest
from rarebooth.effects import idle
from rarebooth.errors import SettingsError
from rarebooth.methods import find as find_method
from rarebooth.protocols import Extent
from rarebooth.settings import (
    DrawSettings,
    Precision,
    Resolved,
    check_seed,
    method_settings,
    preset_for,
    read_file,
    resolve,
)
from rarebooth.world.subjects import BENCHMARK, VALIDATION, Subject, find

CODE: Final = 1
"""Counted up when what a job computes changes, or how the world looks: records are made anew."""

DREAMBENCH: Final = "RAREBOOTH_DREAMBENCH"
"""The environment variable that names the folder with a folder of photos for each subject."""

NOUN: Final = "NOUN"
"""As a setting's value, the subject's noun, or its last word: what one token can start from."""

Photos: TypeAlias = Literal["miniature", "dreambench"]
Scored: TypeAlias = Literal["chosen", "all"]

_SUBJECTS: Final[Mapping[str, tuple[tuple[Subject, ...], Photos]]] = {
    "miniature": (BENCHMARK, "miniature"),
    "validation": (VALIDATION, "miniature"),
    "dreambench": (BENCHMARK, "dreambench"),  # the same names and classes
}

_PLAN: Final[Mapping[str, Any]] = {
    "base": str,
    "precision": Precision,
    "subjects": Literal["miniature", "validation", "dreambench"],
    "entries": dict[str, Any],
    "only": tuple[str, ...],
    "seeds": tuple[int, ...],
    "extent": dict[str, Any],
    "draw": dict[str, Any],
    "pictures": dict[str, Any],
}
_ENTRY: Final[Mapping[str, Any]] = {
    "method": str,
    "checkpoints": tuple[int, ...],
    "fixed": int,
    "score": Scored,
    "settings": dict[str, Any],
    "only": tuple[str, ...],
    "seeds": tuple[int, ...],
    "extent": dict[str, Any],
    "draw": dict[str, Any],
    "leave_one_out": bool,
    "compare_to": str,
    "pictures": bool,
}

_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """One job: a subject is learnt once, by one entry with one seed, and scored.

    ``photos``: whose they are, the miniature's own or DreamBench's. ``settings``: all of the
    method's. ``checkpoints``: steps of its last stage; ``fixed`` is the one that is scored whatever
    it looks like. ``score``: "chosen" for the fixed and the held-out checkpoint in full, or "all".
    ``base``: as asked for. ``pictures``: whether some are kept in the record: of an entry's first
    seed, where the plan names the subject and the entry does not say no. ``leave_one_out``: the
    last photo is not learnt from, and is what likeness is measured against.
    """

    subject: str
    noun: str
    photos: Photos
    label: str
    method: str
    settings: Mapping[str, Any] = field(hash=False)
    seed: int
    checkpoints: tuple[int, ...]
    fixed: int
    score: Scored
    extent: Extent
    draw: DrawSettings
    base: str
    pictures: bool
    leave_one_out: bool = False

    @property
    def plain(self) -> dict[str, Any]:
        """The same as plain data; of a base's folder its name alone."""
        content = {**asdict(self), "base": hub.name_of(self.base)}
        if not self.leave_one_out:
            del content["leave_one_out"]
        return content

    def key(self, digests: Mapping[str, str]) -> str:
        """SHA-256, hexadecimal, of all that the job's result depends on.

        ``digests``: of what the spec only names, such as the base's weights and the photos.
        """
        inputs = {
            "code": CODE,
            "job": self.plain,
            # Class images are drawn as the preset says, whatever the plan says of other pictures.
            "class_images": asdict(preset_for(self.base).draw),
            "digests": dict(digests),
        }
        return sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the tables: a method with its settings, and what it is run on.

    ``compare_to``: the entry that it is taken from, subject by subject; None for none.
    ``pictures``: whether some are kept of the subjects that the plan names. ``idle``: a sentence
    for each of its settings that does nothing where the others are as they are.
    """

    label: str
    method: str
    settings: Mapping[str, Any]
    checkpoints: tuple[int, ...]
    fixed: int
    score: Scored
    subjects: tuple[str, ...]
    seeds: tuple[int, ...]
    extent: Extent
    draw: DrawSettings
    leave_one_out: bool
    compare_to: str | None
    pictures: bool
    idle: tuple[str, ...]

    def comparable(self, other: "Entry") -> bool:
        """Whether scores of both are of as many pictures, and likeness is to the same photos.

        Drift, PRES, distances of the class and copies all change with the number of pictures.
        """
        return (self.extent, self.leave_one_out) == (other.extent, other.leave_one_out)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is compared.

    ``precision``: what the base computes in; "auto" is what it opens in where the plan is run.
    ``subjects``: those of any entry, in their usual order.
    """

    base: str
    precision: Precision
    photos: Photos
    subjects: tuple[Subject, ...]
    pictures: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def jobs(self) -> list[JobSpec]:
        """All jobs, subject by subject."""
        return [job for subject in self.subjects for job in self.jobs_of(subject)]

    def jobs_of(self, subject: Subject) -> list[JobSpec]:
        """The jobs of one subject: every entry that is run on it, with all its seeds."""
        return [
            JobSpec(
                subject=subject.name,
                noun=subject.toy,
                photos=self.photos,
                label=entry.label,
                method=entry.method,
                settings=_of_subject(entry.settings, subject),
                seed=seed,
                checkpoints=entry.checkpoints,
                fixed=entry.fixed,
                score=entry.score,
                extent=entry.extent,
                draw=entry.draw,
                base=self.base,
                pictures=entry.pictures
                and subject.name in self.pictures
                and seed == entry.seeds[0],
                leave_one_out=entry.leave_one_out,
            )
            for entry in self.entries
            if subject.name in entry.subjects
            for seed in entry.seeds
        ]


def read_plan(path: Path) -> Plan:
    """Read a plan's TOML file; SettingsError names what is unknown, missing or out of range."""
    given = _checked("the plan", read_file(path), _PLAN, required=("base", "subjects", "entries"))
    known, photos = _SUBJECTS[given["subjects"]]
    names = [subject.name for subject in known]
    kept = _checked("[pictures]", given.get("pictures", {}), {"subjects": tuple[str, ...]})
    if not given["entries"]:
        raise SettingsError("The plan has no entries; it needs at least one, [entries.two-stage].")
    entries = _compared(
        _entry(label, entry, given, names) for label, entry in given["entries"].items()
    )
    asked = {name for entry in entries for name in entry.subjects}
    return Plan(
        base=given["base"],
        precision=given.get("precision", "auto"),
        photos=photos,
        subjects=tuple(subject for subject in known if subject.name in asked),
        pictures=_named("[pictures]", kept.get("subjects", ()), names),
        entries=entries,
    )


def photos_digest(job: JobSpec) -> str:
    """What identifies a job's photos: of files their bytes, of the miniature's who and where.

    Raises SettingsError where DreamBench's photos cannot be found.
    """
    if job.photos == "miniature":
        subject = find(job.subject)
        return sha256(f"{subject} {subject.photo_places}".encode()).hexdigest()
    folder = Path(os.environ.get(DREAMBENCH, "")) / job.subject
    if not os.environ.get(DREAMBENCH) or not folder.is_dir():
        raise SettingsError(
            f"The photos of {job.subject!r} are not found. Have {DREAMBENCH} name the folder that "
            f"holds one folder of photos for each subject, {job.subject!r} among them."
        )
    return _digest_once(folder)


_digest_once = cache(folder_digest)
"""Many jobs look at the same photos."""


def _entry(label: str, content: object, plan: Mapping[str, Any], names: Sequence[str]) -> Entry:
    where = f"[entries.{label}]"
    if not _LABEL.fullmatch(label):
        raise SettingsError(
            f"The entry {label!r} cannot name a file; use small letters, digits and . _ - only."
        )
    given = _checked(where, content, _ENTRY, required=("method", "checkpoints", "fixed"))
    checkpoints: tuple[int, ...] = given["checkpoints"]
    seeds: tuple[int, ...] = given.get("seeds", plan.get("seeds", (0,)))
    if not checkpoints or list(checkpoints) != sorted({*checkpoints}) or checkpoints[0] < 1:
        raise SettingsError(
            f"checkpoints in {where} are {list(checkpoints)}; they must be steps from 1 on, each "
            "larger than the one before."
        )
    if given["fixed"] not in checkpoints:
        raise SettingsError(
            f"fixed in {where} is {given['fixed']}; it must be one of its checkpoints, "
            f"{', '.join(map(str, checkpoints))}."
        )
    for seed in seeds:
        check_seed(seed)
    if not seeds or len({*seeds}) < len(seeds):
        raise SettingsError(f"seeds of {where} are {list(seeds)}; use at least one, each once.")
    extent = Extent(
        **{
            **_checked("[extent]", plan.get("extent", {}), get_type_hints(Extent)),
            **_checked(f"{where} extent", given.get("extent", {}), get_type_hints(Extent)),
        }
    )
    for name, count in asdict(extent).items():
        if count < 1:
            raise SettingsError(f"{name} in the extent of {where} is {count}; use 1 or more.")
    only = given.get("only", plan.get("only", names))
    resolved = _resolved(where, given, plan["base"])
    return Entry(
        label=label,
        method=given["method"],
        settings=method_settings(resolved.method),
        checkpoints=checkpoints,
        fixed=given["fixed"],
        score=given.get("score", "chosen"),
        subjects=_named(where, only, names),
        seeds=seeds,
        extent=extent,
        draw=_draw(where, given, plan),
        leave_one_out=given.get("leave_one_out", False),
        compare_to=given.get("compare_to"),
        pictures=given.get("pictures", True),
        idle=tuple(idle(resolved)),
    )


def _compared(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Entries that know what they are compared to: as asked, or to the first if they can be."""
    known = {entry.label: entry for entry in entries}
    first = next(iter(known.values()))
    for label, entry in known.items():
        asked = entry.compare_to
        if asked is not None and (asked == label or asked not in known):
            others = ", ".join(name for name in known if name != label)
            raise SettingsError(
                f"compare_to in [entries.{label}] is {asked!r}; it must be another entry: {others}."
            )
        other = first if asked is None else known[asked]
        alike = entry.comparable(other)
        if asked is not None and not alike:
            raise SettingsError(
                f"compare_to in [entries.{label}] is {asked!r}, whose pictures or photos are "
                "others; extent and leave_one_out must be the same in both."
            )
        kept = other.label if alike and other.label != label else None
        known[label] = replace(entry, compare_to=kept)
    return tuple(known.values())


def _draw(where: str, entry: Mapping[str, Any], plan: Mapping[str, Any]) -> DrawSettings:
    known = get_type_hints(DrawSettings)
    given = _checked("[draw]", plan.get("draw", {}), known)
    given |= _checked(f"{where} draw", entry.get("draw", {}), known)
    draw = replace(preset_for(plan["base"]).draw, **given)
    if draw.sampler_steps < 1:
        raise SettingsError(f"sampler_steps is {draw.sampler_steps}; it must be at least 1.")
    return draw


def _of_subject(settings: Mapping[str, Any], subject: Subject) -> dict[str, Any]:
    """Settings in which NOUN stands for the last word of the subject's noun."""
    word = subject.toy.split()[-1]
    return {name: word if value == NOUN else value for name, value in settings.items()}


def _resolved(where: str, entry: Mapping[str, Any], base: str) -> Resolved:
    """All settings of an entry's method, so that a preset that changes is another job."""
    kind = find_method(entry["method"])
    hints = {item.name: get_type_hints(kind)[item.name] for item in fields(kind)}
    last = entry["checkpoints"][-1]
    own = _checked(f"{where} settings", entry.get("settings", {}), hints)
    if "steps" in hints:
        own = {"steps": last, **own}
    given = {"noun": "subject", "base": base, "method": kind.name, **own}
    resolved = resolve(kind, {}, {}, given, preset_for(base))
    method = resolved.method
    steps = method.lengths()[method.stages[-1]]
    if steps is not None and steps < last:
        raise SettingsError(
            f"The last checkpoint of {where} is {last}, and it takes {steps} steps. Raise steps or "
            "leave out what comes later."
        )
    return resolved


def _named(where: str, asked: Sequence[str], names: Collection[str]) -> tuple[str, ...]:
    for name in asked:
        if name not in names:
            raise SettingsError(
                f"Unknown subject {name!r} for {where}; there are: {', '.join(names)}."
            )
    return tuple(asked)


def _checked(
    where: str, content: object, known: Mapping[str, Any], required: Collection[str] = ()
) -> dict[str, Any]:
    """The values of a table, each of its type."""
    if not isinstance(content, Mapping):
        raise SettingsError(f"{where} is {content!r}; it must be a table.")
    found: dict[str, Any] = {}
    for key, value in content.items():
        if key not in known:
            raise SettingsError(
                f"Unknown key {key!r} in {where}; it knows: {', '.join(sorted(known))}."
            )
        try:
            found[key] = pydantic.TypeAdapter(known[key]).validate_python(value)
        except pydantic.ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise SettingsError(f"{key} in {where} is {value!r}: {reason}.") from error
    for key in required:
        if key not in found:
            raise SettingsError(f"{where} has no {key!r}; it needs {', '.join(required)}.")
    return found
