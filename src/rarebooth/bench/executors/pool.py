"""Some processes on this machine, each with a few threads and one job at a time."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from tempfile import TemporaryDirectory
from typing import Final

import torch

from rarebooth.bench.executors import RETRIES, Done, Outcome, RunJob, attempt, lost
from rarebooth.bench.plan import JobSpec
from rarebooth.errors import SettingsError

START: Final = "spawn"
"""A forked process cannot use a GPU that its parent has used."""


@dataclass(frozen=True)
class Pool:
    """``workers`` processes that live as long as there are jobs, with ``threads`` threads each.

    A worker keeps what it has loaded from job to job. One that dies is replaced, and its job is run
    again, ``RETRIES`` times at most. None outlives this process.
    """

    workers: int
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("workers", "threads"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; it must be at least 1.")

    def run(self, jobs: Sequence[JobSpec], run_job: RunJob, done: Done) -> None:
        """See ``Executor``."""
        with TemporaryDirectory(prefix="rarebooth-") as scratch:
            self._run(jobs, run_job, done, scratch)

    def _run(self, jobs: Sequence[JobSpec], run_job: RunJob, done: Done, scratch: str) -> None:
        waiting = deque((job, 1) for job in jobs)
        crew: list[_Worker] = []
        try:
            while waiting or crew:
                while waiting and len(crew) < self.workers:
                    crew.append(_Worker(run_job, self.threads, scratch))
                    crew[-1].take(*waiting.popleft())
                ready = wait([worker.pipe for worker in crew])
                for worker in [each for each in crew if each.pipe in ready]:
                    outcome = worker.outcome()
                    if outcome is not None:
                        done(worker.job, outcome)
                        if waiting:
                            worker.take(*waiting.popleft())
                            continue
                        crew.remove(worker)
                        worker.dismiss()
                        continue
                    crew.remove(worker)
                    ending = worker.ending()
                    if worker.tries > RETRIES:
                        done(worker.job, lost(ending))
                    else:
                        waiting.appendleft((worker.job, worker.tries + 1))
        finally:
            for worker in crew:
                worker.dismiss()


class _Worker:
    """A process, this end of the pipe to it, and the job that it has."""

    job: JobSpec
    tries: int

    def __init__(self, run_job: RunJob, threads: int, scratch: str) -> None:
        context = multiprocessing.get_context(START)
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, run_job, threads), daemon=True)
        # A library reads how many threads it may use when it is loaded. What a killed worker has
        # left is removed with the folder for temporary files, as the worker cannot do it.
        with _environment(OMP_NUM_THREADS=str(threads), TMPDIR=scratch):
            self.process.start()
        # Held by the worker alone, it closes when the worker dies.
        theirs.close()

    def take(self, job: JobSpec, tries: int) -> None:
        """Give it a job; one that has died meanwhile has no outcome."""
        self.job, self.tries = job, tries
        with suppress(OSError):
            self.pipe.send(job)

    def outcome(self) -> Outcome | None:
        """The outcome of its job; None where it has died."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return None

    def ending(self) -> str:
        """How it has died."""
        self.process.join()
        self.pipe.close()
        code = self.process.exitcode or 0
        return (
            f"the last time by signal {-code}"
            if code < 0
            else f"the last time with exit code {code}"
        )

    def dismiss(self) -> None:
        """End it, whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


@contextmanager
def _environment(**variables: str) -> Generator[None]:
    """Variables for the processes that are started inside."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe: Connection, run_job: RunJob, threads: int) -> None:
    """What a worker does."""
    # Ctrl-C reaches all processes of a terminal; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    with suppress(EOFError, OSError):
        while True:
            pipe.send(attempt(run_job, pipe.recv()))


def _end_with_parent() -> None:
    """A job may take an hour, and nobody would be there for its outcome."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
