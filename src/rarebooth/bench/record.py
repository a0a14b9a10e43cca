"""Records of jobs: one file each, found again by all that its content depends on."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from rarebooth import store
from rarebooth.bench.executors import Outcome
from rarebooth.bench.plan import JobSpec, photos_digest

FORMAT: Final = 1

Record: TypeAlias = dict[str, Any]
"""``{"format", "key", "job", "status": "done" or "failed", "error", "body"}``."""


@dataclass(frozen=True)
class Records:
    """A folder of records.

    ``digests``: of what all jobs use and a plan only names, such as ``{"base": ...}``. A record of
    other settings, weights or photos has another key, and lies beside.
    """

    folder: Path
    digests: Mapping[str, str]

    def key(self, job: JobSpec) -> str:
        """The job's key."""
        return job.key({**self.digests, "photos": photos_digest(job)})

    def path(self, job: JobSpec) -> Path:
        """Where the job's record is, or will be."""
        return self._path(job, self.key(job))

    def find(self, job: JobSpec) -> Record | None:
        """The job's record; None where there is none, or one that is damaged."""
        key = self.key(job)
        try:
            found = json.loads(self._path(job, key).read_text("utf-8"))
            sound = found["format"] == FORMAT and found["key"] == key
            if found["status"] == "done":
                sound = sound and isinstance(found["body"], dict)
            else:
                sound = sound and found["status"] == "failed" and isinstance(found["error"], str)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if sound else None

    def load(self, jobs: Iterable[JobSpec]) -> dict[JobSpec, Record]:
        """The records that there are of these jobs, failed ones among them."""
        found = ((job, self.find(job)) for job in jobs)
        return {job: record for job, record in found if record is not None}

    def pending(self, jobs: Iterable[JobSpec], *, retry_failed: bool = False) -> list[JobSpec]:
        """The jobs that are to be run, in their order."""
        jobs = list(jobs)
        there = self.load(jobs)
        enough = {"done"} if retry_failed else {"done", "failed"}
        return [job for job in jobs if job not in there or there[job]["status"] not in enough]

    def write(self, job: JobSpec, outcome: Outcome) -> None:
        """Write the job's record atomically; ResourceError where that is not possible."""
        key = self.key(job)
        content = {
            "format": FORMAT,
            "key": key,
            "job": job.plain,
            "status": "done" if outcome.error is None else "failed",
            "error": outcome.error,
            "body": outcome.body,
        }
        store.write_json(self._path(job, key), content, indent=None)

    def _path(self, job: JobSpec, key: str) -> Path:
        return self.folder / f"{job.subject}-{job.label}-{job.seed}-{key[:12]}.json"
