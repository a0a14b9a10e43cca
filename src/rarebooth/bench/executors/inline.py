"""One job after another, in this process."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rarebooth.bench.executors import Done, RunJob, attempt
from rarebooth.bench.plan import JobSpec


@dataclass(frozen=True)
class Inline:
    """Runs jobs in order, in this process, with ``threads`` threads, as any other executor has.

    Sums that are added up by another number of threads differ in their last digits.
    """

    threads: int = 1

    def run(self, jobs: Sequence[JobSpec], run_job: RunJob, done: Done) -> None:
        """See ``Executor``."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            for job in jobs:
                done(job, attempt(run_job, job))
        finally:
            torch.set_num_threads(before)
