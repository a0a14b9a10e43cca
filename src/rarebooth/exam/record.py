"""The record of an exam: all figures, and everything needed to repeat them."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import torch

from rarebooth.exam.candidate import SAMPLER, Candidate
from rarebooth.exam.extent import Extent
from rarebooth.exam.row import Row
from rarebooth.pretrain.rendering import world_version

VERSIONED: Final = ("rarebooth", "torch", "diffusers", "transformers", "numpy")


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
            "processor": _processor(),
            "threads": torch.get_num_threads(),
            "device": str(candidate.base.device),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in VERSIONED},
        },
        "drawing": {"sampler": SAMPLER, "guidance": candidate.guidance},
        "extent": asdict(extent),
        "seconds": round(seconds, 1),
        "rows": [asdict(row) for row in rows],
    }


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
