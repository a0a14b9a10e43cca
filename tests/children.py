"""Processes that train: each is a command line of its own, started by a server that has torch."""

import io
import multiprocessing
import os
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.process import BaseProcess
from pathlib import Path

PATIENCE = 120
"""Seconds after which something hangs."""

_CONTEXT = multiprocessing.get_context("forkserver")
# All that any test preloads: there is one fork server for a whole test run.
_CONTEXT.set_forkserver_preload(
    ["rarebooth.training", "rarebooth.bases.sd", "rarebooth.bench.work"]
)


def _run(words: list[str], said: str) -> None:
    import torch

    from rarebooth.cli.app import run

    torch.set_num_threads(1)
    with io.StringIO() as out, redirect_stdout(out), redirect_stderr(out):
        code = run(words)
        Path(said).write_text(out.getvalue(), "utf-8")
    sys.exit(code)


def start(words: list[str], said: Path) -> BaseProcess:
    """Start ``rarebooth`` with these words; what it says is in ``said`` when it has ended."""
    process = _CONTEXT.Process(target=_run, args=(words, str(said)))
    process.start()
    return process


def started(act, *given) -> BaseProcess:
    """Start a function of a module."""
    process = _CONTEXT.Process(target=act, args=given)
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    """Wait for a process; its exit code, negative for a signal."""
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        raise AssertionError("the process hangs")
    return process.exitcode


def wait_until(condition, process: BaseProcess) -> None:
    """Wait until something is so, or the process has ended."""
    give_up = time.monotonic() + PATIENCE
    while not condition() and process.is_alive() and time.monotonic() < give_up:
        time.sleep(0.002)


def barrier(parties: int):
    """Something that processes can wait at until all are there."""
    return _CONTEXT.Barrier(parties)


def send(process: BaseProcess, signal: int) -> None:
    """Send a signal to a process that may have ended."""
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, signal)
