"""A rarebooth subject file: read as ``rarebooth generate`` reads it."""

import json
from collections.abc import Callable
from pathlib import Path

from rarebooth import artifact
from rarebooth.base import Identity
from rarebooth.errors import ArtifactError
from rarebooth.formats import Report
from rarebooth.formats.tensors import Layout

KIND = "rarebooth subject"


def read(path: Path, layout: Layout, identity: Callable[[], Identity] | None) -> Report:
    """What the subject is, and whether it is of the base that ``identity`` tells, where given."""
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
    if identity is None:
        return Report(KIND, True, facts, ())
    try:
        artifact.require_base(learnt, identity())
    except ArtifactError as error:
        return Report(KIND, True, {**facts, "fits": False}, (str(error),))
    return Report(KIND, True, {**facts, "fits": True}, ())
