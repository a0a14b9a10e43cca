"""A rarebooth subject file: read as ``rarebooth generate`` reads it."""

import json
from collections.abc import Callable
from pathlib import Path

from rarebooth import artifact
from rarebooth.base import Base, Session
from rarebooth.errors import ArtifactError, SettingsError
from rarebooth.formats import Report
from rarebooth.formats.tensors import Layout

KIND = "rarebooth subject"


def read(path: Path, layout: Layout, borrow: Callable[[], Base] | None) -> Report:
    """What the subject is, and whether the base that ``borrow`` opens, where given, can draw it."""
    try:
        learnt = artifact.load(path)
    except ArtifactError as error:
        return Report(KIND, safe=False, facts={}, problems=(str(error),))
    header = learnt.header
    facts = {
        "method": header.method,
        "base": header.base.name,
        "base digest": header.base.digest,
        "nouns": list(header.nouns),
        "phrases": list(learnt.delta.phrases),
        "checkpoint": header.checkpoint,
        "picture size": header.size,
        "seed": header.seed,
        "format": json.loads(layout.metadata[artifact.HEADER])["format"],
    }
    if borrow is None:
        return Report(KIND, True, facts, ())
    base = borrow()
    try:
        artifact.require_base(learnt, base.identity)
        with Session(base) as session:
            session.wear(learnt.delta)
    except (ArtifactError, SettingsError) as error:
        return Report(KIND, True, {**facts, "fits": False}, (str(error),))
    return Report(KIND, True, {**facts, "fits": True}, ())
