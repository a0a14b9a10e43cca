"""Processes that train: each is a command line of its own, started by a server that has torch."""

import io
import multiprocessing
import os
import shutil
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

PATIENCE = 120
"""Seconds after which something hangs."""

_CONTEXT = multiprocessing.get_context("forkserver")
# All that any test preloads: there is one fork server for a whole test run.
_CONTEXT.set_forkserver_preload(
    ["rarebooth.training", "rarebooth.bases.sd", "rarebooth.bench.work"]
)


def run(words: list[str], said: str) -> None:
    """Do what ``rarebooth`` with these words does, in this process; see ``start``."""
    import torch

    from rarebooth.cli import app

    torch.set_num_threads(1)
    with io.StringIO() as out, redirect_stdout(out), redirect_stderr(out):
        code = app.run(words)
        Path(said).write_text(out.getvalue(), "utf-8")
    sys.exit(code)


def train_and_keep(words: list[str], said: str) -> None:
    """``rarebooth train`` that draws in one step, judges without a network, and keeps states.

    The last states are copied beside the run folder before they are discarded, class images lie
    there too: ``<run>-states`` and ``<run>-cache``.
    """
    from judging import JUDGES
    from rarebooth import evaluation, plan, training
    from rarebooth.class_images import CACHE
    from rarebooth.folder import RunFolder
    from rarebooth.settings import Preset

    os.environ[CACHE] = f"{words[words.index('--out') + 1]}-cache"
    discard, whole = RunFolder.discard_state, plan.preset_for

    def keep(self: RunFolder) -> None:
        place = self.path.with_name(f"{self.path.name}-states")
        if not place.exists():
            copy = place.with_suffix(".part")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.state, copy, ignore=shutil.ignore_patterns(".*"))
            copy.rename(place)
        discard(self)

    def quick(name: str) -> Preset:
        preset = whole(name)
        draw, preview = (replace(each, sampler_steps=1) for each in (preset.draw, preset.preview))
        return replace(preset, draw=draw, preview=preview)

    RunFolder.discard_state = keep
    plan.preset_for = evaluation.preset_for = quick
    training.open_judges = lambda *_: JUDGES
    run(words, said)


def start(words: list[str], said: Path) -> BaseProcess:
    """Start ``rarebooth`` with these words; what it says is in ``said`` when it has ended."""
    process = _CONTEXT.Process(target=run, args=(words, str(said)))
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


def wait_until(condition, process: BaseProcess | Thread) -> None:
    """Wait until something is so, or the process or thread has ended."""
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
