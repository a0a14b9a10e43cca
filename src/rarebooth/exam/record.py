"""The record of an exam: all figures, and everything needed to repeat them or to go on."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import TypeAdapter

from rarebooth import __version__
from rarebooth.errors import SettingsError
from rarebooth.exam.candidate import SAMPLER, Candidate
from rarebooth.exam.extent import Extent
from rarebooth.exam.row import Row
from rarebooth.machine import processor
from rarebooth.pretrain.rendering import world_version

VERSIONED: Final = ("torch", "diffusers", "transformers", "numpy")


def exam_record(
    candidate: Candidate, extent: Extent, rows: Sequence[Row], *, quick: bool, seconds: float
) -> Mapping[str, Any]:
    """What ``--record`` writes, as JSON's types."""
    identity = candidate.base.identity
    return {
        "exam": "embedded base",
        "quick": quick,
        "base": {
            "name": identity.name,
            "version": candidate.version,
            "digest": identity.digest,
            "worlds": candidate.recipe.get("worlds", []),
        },
        "world": world_version(),
        "machine": {
            "processor": processor(),
            "threads": torch.get_num_threads(),
            "device": str(candidate.base.device),
        },
        "versions": {
            "python": platform.python_version(),
            "rarebooth": __version__,  # metadata has none where it is not installed
            **{name: metadata.version(name) for name in VERSIONED},
        },
        "drawing": {"sampler": SAMPLER, "guidance": candidate.guidance},
        "extent": asdict(extent),
        "seconds": round(seconds, 1),
        "rows": [asdict(row) for row in rows],
    }


def read_record(file: Path, now: Mapping[str, Any]) -> tuple[dict[str, Row], float]:
    """The rows that were measured into ``file``, by name, and the seconds they took.

    ``now``: the record that is being made. No rows where there is no file. Rows that were absent
    are left out: what they lacked may be there by now. What the rows were judged by is not
    compared: with another examiner or other judges, delete their rows or name a new file.

    Raises:
        SettingsError: the file is no record, or one of another base, world, extent, sampler,
            guidance or ``quick``.
    """
    if not file.exists():
        return {}, 0.0
    try:
        before = json.loads(file.read_text("utf-8"))
        was = _conditions(before)
        rows = TypeAdapter(list[Row]).validate_python(before["rows"])
        seconds = float(before["seconds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"{file} exists, but holds no record of an exam that can be gone on with ({error}). "
            "Mend it, or name a new file with --record."
        ) from error
    wanted = _conditions(now)
    differing = "; ".join(
        f"{name} {was.get(name)} there, {wanted.get(name)} here"
        for name in {**was, **wanted}
        if was.get(name) != wanted.get(name)
    )
    if differing:
        raise SettingsError(
            f"{file} holds an exam made otherwise: {differing}. Ask for the same to go on with it, "
            "or name a new file with --record."
        )
    return {row.name: row for row in rows if row.verdict != "absent"}, seconds


def _conditions(record: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for rows to belong into one table."""
    return {
        "base": record["base"]["digest"],
        "world": record["world"],
        "quick": record["quick"],
        **record["drawing"],
        **record["extent"],
    }
