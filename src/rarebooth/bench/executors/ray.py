"""A Ray cluster, or Ray on this machine: one task for each job."""

import importlib
import os
import secrets
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from rarebooth.bench.executors import RETRIES, Done, Outcome, RunJob, attempt, lost
from rarebooth.bench.plan import JobSpec
from rarebooth.errors import ResourceError, SettingsError
from rarebooth.settings import ENVIRONMENT, ENVIRONMENT_ELSEWHERE

ADDRESS = "RAY_ADDRESS"
"""Ray's own environment variable for the cluster to use."""


@dataclass(frozen=True)
class Ray:
    """Tasks of ``threads`` CPUs each, on the cluster at ``address`` or at RAY_ADDRESS, or here.

    A task whose process or node dies is run again, ``RETRIES`` times at most. Ray on this machine
    has no dashboard and refuses whoever has not its token; a cluster is as open as it was set up.
    """

    address: str | None = None
    threads: int = 1

    def run(self, jobs: Sequence[JobSpec], run_job: RunJob, done: Done) -> None:
        """See ``Executor``. Raises SettingsError where Ray is not installed."""
        if not jobs:
            return
        address = self.address or os.environ.get(ADDRESS)
        with _guarded(here=address is None):
            ray = _ray()
            self._connect(ray, address)
            try:
                # Without asking for one, a task sees no GPU; a job fills the one that it has.
                gpus = 1 if ray.cluster_resources().get("GPU", 0) else 0
                asked = {"num_cpus": self.threads, "num_gpus": gpus, "max_retries": RETRIES}
                task = ray.remote(**asked)(_task)
                under_way = {task.remote(run_job, job, self.threads): job for job in jobs}
                while under_way:
                    ready, _ = ray.wait(list(under_way))
                    for each in ready:
                        done(under_way.pop(each), _outcome(ray, each))
            finally:
                ray.shutdown()

    def _connect(self, ray: Any, address: str | None) -> None:  # noqa: ANN401  an optional module
        passed = {f"{ENVIRONMENT}{name.upper()}" for name in ENVIRONMENT_ELSEWHERE}
        own = {} if address else {"include_dashboard": False}
        try:
            ray.init(
                address=address or "local",
                logging_level="error",
                log_to_driver=False,
                runtime_env={
                    "env_vars": {
                        "OMP_NUM_THREADS": str(self.threads),
                        **{name: os.environ[name] for name in passed & os.environ.keys()},
                    }
                },
                **own,
            )
        except ConnectionError as error:
            raise ResourceError(
                f"No Ray cluster answers at {address!r}. Start it, name another, or unset "
                f"{ADDRESS} to run on this machine."
            ) from error
        cpus = ray.cluster_resources().get("CPU", 0)
        if cpus < self.threads:
            ray.shutdown()
            raise SettingsError(
                f"threads is {self.threads}, and Ray has {cpus:g} CPUs. Choose at most as many."
            )


def _task(run_job: RunJob, job: JobSpec, threads: int) -> Outcome:
    torch.set_num_threads(threads)
    return attempt(run_job, job)


def _outcome(ray: Any, task: Any) -> Outcome:  # noqa: ANN401
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError:
        raise  # a node that cannot run any job, such as one without rarebooth
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        return lost(f"the last time by {type(error).__name__}")
    except ray.exceptions.RayError as error:
        # Not the job's doing: the others would be recorded as failed too, one after the other.
        raise ResourceError(
            f"Ray has come to an end while jobs were under way ({type(error).__name__}). What was "
            "done is recorded; the same command goes on with the rest."
        ) from error


def _ray() -> Any:  # noqa: ANN401
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise SettingsError(
            'Ray is not installed. Install it, pip install "rarebooth[ray]", or run without it.'
        ) from error


@cache
def _token() -> str:
    """The same for the whole process, because Ray remembers the first that it was given."""
    return secrets.token_hex(32)


@contextmanager
def _guarded(*, here: bool) -> Generator[None]:
    """What Ray reads when it is imported: who may use a cluster that is started here.

    Without a token, whoever reaches its ports runs code (CVE-2023-48022).
    """
    own: Mapping[str, str] = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or _token(),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own if here else {})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
