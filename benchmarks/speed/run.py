"""Time rarebooth against diffusers' example scripts and pipeline on the same work.

    python benchmarks/speed/run.py --scripts FOLDER [--peer-path PATH] [--rounds 5] [--only ...]

``--scripts`` holds train_dreambooth.py and textual_inversion.py, fetched from diffusers' repository
(examples/dreambooth and examples/textual_inversion). ``--peer-path`` is put on PYTHONPATH for them
alone: they want torchvision, which rarebooth does not.

Both sides take turns, so that a machine that changes its pace slows both; the order changes every
round. What is measured is added to ``benchmarks/records/speed-cpu.json``, and the table is written
anew into ``benchmarks/speed/README.md``.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import torch
import transformers
from growth import GROWTHS, grow
from process import apart, timed
from sampling import sampled
from sides import ALONE, MATCHES, PHOTOS, Match, alone, ours, theirs
from table import RECORD, renew

from rarebooth.machine import machine

SIDES = ("ours", "theirs")
SAMPLING = "sampling"


def train_round(match: Match, scripts: Path, peer_path: str, turn: int) -> dict[str, Any]:
    """Both sides once, each in a folder of its own."""
    measured: dict[str, Any] = {}
    for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
        with TemporaryDirectory() as folder:
            out = Path(folder)
            photos = out / "photos"
            photos.mkdir()
            for photo in PHOTOS.glob("*.png"):
                shutil.copy(photo, photos)
            if side == "ours":
                marks = timed(ours(match, out), out)
            else:
                marks = timed(theirs(match, out, scripts, photos), out, peer_path)
            measured[side] = _figures(marks, match)
    return measured


def alone_round(name: str) -> dict[str, Any]:
    """Our side once, where there is no other."""
    with TemporaryDirectory() as folder:
        marks = timed(alone(name, Path(folder)), Path(folder))
    return {"ours": {key: marks[key] for key in ("whole_seconds", "cpu_seconds", "peak_bytes")}}


def _figures(marks: Mapping[str, Any], match: Match) -> dict[str, Any]:
    """What is compared; of a step, the median time between two of them."""
    steps: list[float] = marks["steps"][-match.steps :]  # a quote takes steps too, before
    return {
        "whole_seconds": marks["whole_seconds"],
        "first_step_seconds": steps[0],
        "step_seconds": apart(steps),
        "cpu_seconds": marks["cpu_seconds"],
        "peak_bytes": marks["peak_bytes"],
    }


def main() -> None:
    """Measure what was asked for, and write it down after every round."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--scripts", type=Path, required=True)
    parser.add_argument("--peer-path", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[*MATCHES, *ALONE, SAMPLING, *GROWTHS])
    asked = parser.parse_args()

    works: dict[str, Callable[[int], dict[str, Any]]] = {
        name: lambda turn, match=match: train_round(match, asked.scripts, asked.peer_path, turn)
        for name, match in MATCHES.items()
    }
    works |= {name: lambda _, name=name: alone_round(name) for name in ALONE}
    works[SAMPLING] = sampled
    works |= {name: lambda _, name=name: grow(name) for name in GROWTHS}
    for turn in range(asked.rounds):
        for name in asked.only:
            began = time.perf_counter()
            _add(name, works[name](turn))
            print(f"round {turn + 1}, {name}: {time.perf_counter() - began:.0f} s", flush=True)  # noqa: T201


def _add(name: str, measured: Mapping[str, Any]) -> None:
    """Add a round to the record; rounds of other versions or another machine are dropped."""
    now = {
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "versions": {
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        },
    }
    record: dict[str, Any] = json.loads(RECORD.read_text("utf-8")) if RECORD.is_file() else {}
    if any(record.get(key) != value for key, value in now.items()):
        record = {**now, "rounds": {}}
    record["rounds"].setdefault(name, []).append(measured)
    RECORD.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    renew()


if __name__ == "__main__":
    main()
