"""A benchmark of 360 jobs, its driver and its workers killed: the table is the same to the byte."""

import multiprocessing
import os
import random
import signal
import threading
from functools import partial
from pathlib import Path

import pytest
from children import ended, started, wait_until

from rarebooth.bench.executors import pool
from rarebooth.bench.executors.inline import Inline
from rarebooth.bench.executors.pool import Pool
from rarebooth.bench.plan import read_plan
from rarebooth.bench.record import Records
from rarebooth.bench.tables import markdown, results
from rarebooth.bench.work import work
from test_bench_tables import PLAN, body
from trials import FULL

MANY = PLAN.replace('only = ["backpack", "can", "cat", "dog"]\n', "").replace(
    "seeds = [0, 1]", f"seeds = {list(range(11))}"
)
"""Thirty subjects by twelve jobs."""


def sweep(folder: Path):
    """The plan: 360 jobs in full, 12 where a few trials do."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.toml").write_text(MANY if FULL else PLAN, "utf-8")
    return read_plan(folder / "plan.toml")


def records_in(folder: Path) -> Records:
    return Records(folder, {"base": "digest"})


def stub(job):
    """A job that takes a moment."""
    threading.Event().wait(0.02)
    return body(job)


def poisoned(folder: str, job):
    """A job that kills its process, each time, where it is the cat's."""
    if job.subject == "cat":
        os.kill(os.getpid(), signal.SIGKILL)
    return stub(job)


def drive(folder: str, out: str) -> None:
    """One process of a benchmark: the same each time it is started."""
    pool.START = "fork"  # forked itself, it would start another fork server
    work(sweep(Path(folder)).jobs, stub, records_in(Path(out)), Pool(2))


@pytest.fixture
def straight(tmp_path):
    plan, records = sweep(tmp_path), records_in(tmp_path / "straight")
    work(plan.jobs, body, records, Inline())
    return markdown(results(plan, records.load(plan.jobs)))


def table(tmp_path, out):
    plan = sweep(tmp_path)
    return markdown(results(plan, records_in(out).load(plan.jobs)))


@pytest.mark.trials("R25", "the driver of a benchmark killed at a random moment", quick=2, full=10)
def test_a_killed_driver_loses_nothing(straight, trials, tmp_path):
    dice, out = random.Random(25), tmp_path / "records"
    every = len(sweep(tmp_path).jobs)
    for trial in trials:
        with trial as number:
            process = started(drive, str(tmp_path), str(out))
            target = every * (number + 1) // (trials.count + 1)
            wait_until(lambda target=target: len(list(out.glob("*.json"))) >= target, process)
            process.join(dice.random() * 0.05)
            process.kill()
            assert ended(process) == -9
    assert ended(started(drive, str(tmp_path), str(out))) == 0
    assert table(tmp_path, out) == straight
    trials.figure(f"{every} jobs")


@pytest.mark.trials("R25", "workers killed at a random moment", quick=2, full=20)
def test_killed_workers_cost_no_job(straight, trials, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "START", "forkserver")
    dice, out, plan, over = random.Random(26), tmp_path / "records", sweep(tmp_path), []
    working = threading.Thread(
        target=lambda: over.append(work(plan.jobs, stub, records_in(out), Pool(2)))
    )
    working.start()
    for trial in trials:
        with trial:
            threading.Event().wait(dice.uniform(0.05, 0.2))
            crew = multiprocessing.active_children()
            if crew:
                dice.choice(crew).kill()
    working.join(120)
    assert over
    assert table(tmp_path, out) == straight


@pytest.mark.trials("R25", "a job that always kills its process", quick=1, full=1)
def test_a_poisonous_job_fails_alone(trials, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "START", "forkserver")
    for trial in trials:
        with trial:
            plan, records = sweep(tmp_path), records_in(tmp_path / "records")
            work(plan.jobs, partial(poisoned, str(tmp_path)), records, Pool(2))
            found = records.load(plan.jobs)
            failed = {job for job, record in found.items() if record["status"] == "failed"}
            assert failed == {job for job in plan.jobs if job.subject == "cat"}
            assert {found[job]["error"] for job in failed} == {
                "WorkerDied: the process that ran it died 3 times, the last time by signal 9"
            }
            assert len(found) == len(plan.jobs)
