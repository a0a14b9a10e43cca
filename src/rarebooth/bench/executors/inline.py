"""One job after another, in this process."""

from collections.abc import Sequence

from rarebooth.bench.executors import Done, RunJob, attempt
from rarebooth.bench.plan import JobSpec


class Inline:
    """Runs jobs in order, in this process, with all its threads."""

    def run(self, jobs: Sequence[JobSpec], run_job: RunJob, done: Done) -> None:
        """See ``Executor``."""
        for job in jobs:
            done(job, attempt(run_job, job))
