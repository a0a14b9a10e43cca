"""Run a training program as it is, and write down when each of its optimiser steps ended.

    python timed.py MARKS.json SCRIPT.py ARGUMENTS...
    python timed.py MARKS.json -m MODULE ARGUMENTS...

The program is not changed: torch tells of every step of every optimiser. Times are seconds since
this process began to import. Processor time and memory are those of its children too.
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

    def used(who: int) -> tuple[float, int]:
        """Seconds of a processor, and the most bytes; of children, those of the largest ended."""
        of = resource.getrusage(who)
        return of.ru_utime + of.ru_stime, of.ru_maxrss * 1024

    both = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    marks, program = Path(sys.argv[1]), sys.argv[2:]
    steps: list[float] = []
    until_steps = 0

    def stepped(*_: object) -> None:
        nonlocal until_steps
        if not steps:
            # Processes that only read photos have ended by now, and stood beside this one before.
            until_steps = sum(used(who)[1] for who in both)
        steps.append(time.perf_counter() - BEGAN)

    register_optimizer_step_post_hook(stepped)
    try:
        if program[0] == "-m":
            sys.argv = program[1:]
            runpy.run_module(program[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = program
            runpy.run_path(program[0], run_name="__main__")
    finally:
        content = {
            "steps": steps,
            "seconds": time.perf_counter() - BEGAN,
            "cpu_seconds": sum(used(who)[0] for who in both),
            "peak_bytes": max(until_steps, used(resource.RUSAGE_SELF)[1]),
        }
        marks.write_text(json.dumps(content), "utf-8")


if __name__ == "__main__":
    main()
