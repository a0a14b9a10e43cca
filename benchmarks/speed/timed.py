"""Run a training program as it is, and write down when each of its optimiser steps ended.

    python timed.py MARKS.json SCRIPT.py ARGUMENTS...
    python timed.py MARKS.json -m MODULE ARGUMENTS...

The program is not changed: torch tells of every step of every optimiser. Times are seconds since
this process began to import.
"""

import json
import runpy
import sys
import time
from pathlib import Path

BEGAN = time.perf_counter()


def main() -> None:
    """Run the program; its marks are written even where it ends by ``sys.exit``."""
    import resource  # noqa: PLC0415  after the clock has started, as everything that it imports

    from torch.optim.optimizer import register_optimizer_step_post_hook  # noqa: PLC0415

    marks, program = Path(sys.argv[1]), sys.argv[2:]
    steps: list[float] = []
    register_optimizer_step_post_hook(lambda *_: steps.append(time.perf_counter() - BEGAN))
    try:
        if program[0] == "-m":
            sys.argv = program[1:]
            runpy.run_module(program[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = program
            runpy.run_path(program[0], run_name="__main__")
    finally:
        used = resource.getrusage(resource.RUSAGE_SELF)
        content = {
            "steps": steps,
            "seconds": time.perf_counter() - BEGAN,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "peak_bytes": used.ru_maxrss * 1024,
        }
        marks.write_text(json.dumps(content), "utf-8")


if __name__ == "__main__":
    main()
