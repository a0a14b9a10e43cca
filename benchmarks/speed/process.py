"""Start a training program as a process of its own, with its steps timed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any


def words(flags: Mapping[str, object]) -> list[str]:
    """Flags as a command line's words; a value of ``True`` is a flag that takes none."""
    return [
        word
        for key, value in flags.items()
        for word in (f"--{key}", *([] if value is True else [str(value)]))
    ]


def timed(program: list[str], folder: Path, peer_path: str | None = None) -> dict[str, Any]:
    """What ``timed.py`` marks of a program that runs in a folder, and ``whole_seconds``.

    ``peer_path``: what the program finds before what is installed.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "RAREBOOTH_CACHE": str(folder)}
    if peer_path is not None:
        environment["PYTHONPATH"] = peer_path
    marks = folder / "marks.json"
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name("timed.py")), str(marks), *program],
        env=environment,
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    whole = time.perf_counter() - began
    return {**json.loads(marks.read_text("utf-8")), "whole_seconds": whole}


def apart(moments: Sequence[float]) -> float:
    """The median time between two moments that follow each other."""
    between = sorted(late - early for early, late in pairwise(moments))
    return between[len(between) // 2]
