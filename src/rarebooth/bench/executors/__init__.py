"""Where jobs run: in this process, in others on this machine, or on a Ray cluster."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from rarebooth.bench.plan import JobSpec
from rarebooth.errors import told_without_paths

RunJob: TypeAlias = Callable[[JobSpec], Mapping[str, Any]]
"""Runs one job; a function of a module, so that other processes can find it."""

RETRIES: Final = 2
"""Times that a job is run again after the process that ran it has died."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with what it returned, or with what went wrong."""

    body: Mapping[str, Any] | None = None
    error: str | None = None


Done: TypeAlias = Callable[[JobSpec, Outcome], None]


class Executor(Protocol):
    """Runs jobs."""

    def run(self, jobs: Sequence[JobSpec], run_job: RunJob, done: Done) -> None:
        """Run all jobs; ``done`` is told each outcome as it comes, in this process.

        What ``done`` raises, and Ctrl-C, ends all jobs that are under way.
        """
        ...


def attempt(run_job: RunJob, job: JobSpec) -> Outcome:
    """Run a job; what it raises is an outcome as well."""
    try:
        return Outcome(body=run_job(job))
    except Exception as error:  # one job's error must not cost the others
        return Outcome(error=told_without_paths(error))


def lost(how: str) -> Outcome:
    """The outcome of a job whose process has died as often as it was run."""
    return Outcome(error=f"WorkerDied: the process that ran it died {RETRIES + 1} times, {how}")
