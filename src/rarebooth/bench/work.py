"""The work of a benchmark: every job that has no record is run once, and recorded as it ends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rarebooth.bench.executors import Executor, Outcome, RunJob
from rarebooth.bench.plan import JobSpec
from rarebooth.bench.record import Records


@dataclass(frozen=True)
class Progress:
    """A job that has ended: ``done`` of ``total`` have, those of earlier work among them."""

    job: JobSpec
    outcome: Outcome
    done: int
    total: int


def work(
    jobs: Sequence[JobSpec],
    run_job: RunJob,
    records: Records,
    executor: Executor,
    *,
    retry_failed: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Run what has no record yet; records are written by this process alone, each at once.

    Whenever it is killed, what was recorded is whole, and the next call goes on from there. A job
    that fails is recorded too, and is run again only with ``retry_failed``.
    """
    pending = records.pending(jobs, retry_failed=retry_failed)
    ended = len(jobs) - len(pending)

    def done(job: JobSpec, outcome: Outcome) -> None:
        nonlocal ended
        records.write(job, outcome)
        ended += 1
        progress(Progress(job, outcome, ended, len(jobs)))

    executor.run(pending, run_job, done)
