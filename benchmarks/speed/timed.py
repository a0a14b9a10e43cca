"""Run a training program as it is, and write down when each of its optimiser steps ended.

    python timed.py MARKS.json SCRIPT.py ARGUMENTS...
    python timed.py MARKS.json -m MODULE ARGUMENTS...

The program is not changed: torch tells of every step of every optimiser. Times are seconds since
this process began to import. Processor time and memory are those of its children too.
"""

import json
import resource
import runpy
import sys
import threading
import time
from pathlib import Path

BEGAN = time.perf_counter()

LOOK_EVERY = 0.2
"""Seconds."""


class Family(threading.Thread):
    """Looks now and then at what this process and its children hold together.

    Not by getrusage, where a child counts with what its parent held as it was started. ``most``:
    bytes.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0

    def run(self) -> None:
        """Look, until the program ends."""
        while True:
            lists = Path("/proc/self/task").glob("*/children")
            children = {pid for each in lists for pid in _read(each).split()}
            self.most = max(self.most, sum(map(_resident, ("self", *children))))
            time.sleep(LOOK_EVERY)


def _resident(process: str) -> int:
    """Bytes of memory that a process holds; 0 where it has ended."""
    fields = _read(Path("/proc") / process / "statm").split()
    return int(fields[1]) * resource.getpagesize() if fields else 0


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except OSError:  # ended since
        return ""


def main() -> None:
    """Run the program; its marks are written even where it ends by ``sys.exit``."""
    # After the clock has started, as everything that it imports.
    from torch.optim.optimizer import register_optimizer_step_post_hook  # noqa: PLC0415

    marks, program = Path(sys.argv[1]), sys.argv[2:]
    steps: list[float] = []
    register_optimizer_step_post_hook(lambda *_: steps.append(time.perf_counter() - BEGAN))
    family = Family()
    family.start()
    try:
        if program[0] == "-m":
            sys.argv = program[1:]
            runpy.run_module(program[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = program
            runpy.run_path(program[0], run_name="__main__")
    finally:
        both = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        content = {
            "steps": steps,
            "seconds": time.perf_counter() - BEGAN,
            "cpu_seconds": sum(used.ru_utime + used.ru_stime for used in both),
            "peak_bytes": max(both[0].ru_maxrss * 1024, family.most),
        }
        marks.write_text(json.dumps(content), "utf-8")


if __name__ == "__main__":
    main()
