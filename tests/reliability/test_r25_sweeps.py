"""A benchmark of 360 jobs, its driver and its workers killed: the table is the same to the byte."""

import importlib.util
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from bench_jobs import PLAN, body, drive, held, poisoned, records_in, small_plan, stub, table
from children import PATIENCE, ended, started, wait_until
from rarebooth.bench.executors import pool
from rarebooth.bench.executors.inline import Inline
from rarebooth.bench.executors.pool import Pool
from rarebooth.bench.executors.ray import Ray
from rarebooth.bench.plan import read_plan
from rarebooth.bench.work import work
from trials import FULL

NO_RAY = importlib.util.find_spec("ray") is None

MANY = PLAN.replace('only = ["backpack", "can", "cat", "dog"]\n', "").replace(
    "seeds = [0, 1]", f"seeds = {list(range(11))}"
)
"""Thirty subjects by twelve jobs."""


def sweep(folder: Path):
    """The plan: 360 jobs in full, 12 where a few trials do."""
    return small_plan(folder, MANY if FULL else PLAN)


@pytest.fixture
def straight(tmp_path):
    plan, records = sweep(tmp_path), records_in(tmp_path / "straight")
    work(plan.jobs, body, records, Inline())
    return table(plan, records)


@pytest.mark.trials("R25", "the driver of a benchmark killed at a random moment", quick=2, full=10)
def test_a_killed_driver_loses_nothing(straight, trials, tmp_path):
    dice, out, plan = random.Random(25), tmp_path / "records", sweep(tmp_path)
    given, every = (drive, tmp_path / "plan.toml", out, 2, stub), len(plan.jobs)
    for trial in trials:
        with trial as number:
            process = started(*given)
            target = every * (number + 1) // (trials.count + 1)
            wait_until(lambda target=target: len(list(out.glob("*.json"))) >= target, process)
            process.join(dice.random() * 0.05)
            process.kill()
            assert ended(process) == -9
    assert ended(started(*given)) == 0
    assert table(plan, records_in(out)) == straight
    trials.figure(f"{every} jobs")


@pytest.mark.trials("R25", "workers killed at a random moment", quick=2, full=20)
def test_killed_workers_cost_no_job(straight, trials, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "START", "forkserver")
    dice, out, plan, over = random.Random(26), tmp_path / "records", sweep(tmp_path), []
    # Each kill falls into a block of jobs of its own, and one block is left for after them: there
    # is always a crew, and no job dies so often that it is given up.
    blocks = {job: n * (trials.count + 1) // len(plan.jobs) for n, job in enumerate(plan.jobs)}
    gates = tmp_path / "gates"
    gates.mkdir()
    run_job = partial(held, gates, blocks)
    working = threading.Thread(
        target=lambda: over.append(work(plan.jobs, run_job, records_in(out), Pool(2))),
        daemon=True,
    )
    working.start()
    for trial in trials:
        with trial as number:
            before = sum(block < number for block in blocks.values())
            wait_until(lambda before=before: len(list(out.glob("*.json"))) >= before, working)
            (gates / str(number)).touch()
            threading.Event().wait(dice.uniform(0.05, 0.2))
            crew: list[BaseProcess] = []
            while working.is_alive() and not (crew := multiprocessing.active_children()):
                time.sleep(0.01)
            dice.choice(crew).kill()
    (gates / str(trials.count)).touch()
    working.join(120)
    assert over
    assert table(plan, records_in(out)) == straight


@pytest.mark.trials("R25", "a job that always kills its process", quick=1, full=1)
def test_a_poisonous_job_fails_alone(trials, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "START", "forkserver")
    for trial in trials:
        with trial:
            plan, records = sweep(tmp_path), records_in(tmp_path / "records")
            work(plan.jobs, poisoned, records, Pool(2))
            found = records.load(plan.jobs)
            failed = {job for job, record in found.items() if record["status"] == "failed"}
            assert failed == {job for job in plan.jobs if job.subject == "cat"}
            assert {found[job]["error"] for job in failed} == {
                "WorkerDied: the process that ran it died 3 times, the last time by signal 9"
            }
            assert len(found) == len(plan.jobs)


def drive_on_ray(plan_file: str, folder: str) -> None:
    """A benchmark on a cluster that it starts for itself on this machine."""
    work(read_plan(Path(plan_file)).jobs, stub, records_in(Path(folder)), Ray())


def ray_workers(driver: int) -> list[int]:
    """The processes that run the tasks of a driver's cluster.

    Not its agents, which are named alike and are no workers: a node ends with them.
    """
    parents: dict[int, list[tuple[int, str]]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            rest = (place / "stat").read_text().rpartition(")")[2].split()
            said = (place / "cmdline").read_text("utf-8", "replace")
        except OSError:
            continue  # it has ended
        parents.setdefault(int(rest[1]), []).append((int(place.name), said))
    below, found = [driver], []
    while below:
        for pid, said in parents.get(below.pop(), []):
            below.append(pid)
            if said.startswith("ray::") and "Agent" not in said:
                found.append(pid)
    return found


@pytest.mark.slow
@pytest.mark.skipif(NO_RAY, reason="Ray is not installed; it comes with the extra rarebooth[ray]")
@pytest.mark.trials(
    "R25", "on Ray, a worker and then the driver killed at random", quick=1, full=10
)
def test_kills_on_ray_cost_no_job(straight, trials, tmp_path):
    dice, out, plan = random.Random(27), tmp_path / "records", sweep(tmp_path)
    every, killed = len(plan.jobs), 0
    # In processes of their own: Ray asks for this machine's address in a way that tests forbid.
    given = f"{str(tmp_path / 'plan.toml')!r}, {str(out)!r}"
    code = f"import test_r25_sweeps as t; t.drive_on_ray({given})"
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def drive_it() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            env=surroundings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def recorded() -> int:
        return len(list(out.glob("*.json")))

    for trial in trials:
        with trial as number:
            process, begun = drive_it(), recorded()
            give_up = time.monotonic() + PATIENCE
            while recorded() == begun and process.poll() is None and time.monotonic() < give_up:
                time.sleep(0.01)
            crew = ray_workers(process.pid)
            if crew:
                os.kill(dice.choice(crew), signal.SIGKILL)
                killed += 1
            target = every * (number + 1) // (trials.count + 1)
            while recorded() < target and process.poll() is None and time.monotonic() < give_up:
                time.sleep(0.01)
            time.sleep(dice.random() * 0.1)
            process.kill()
            assert process.wait(PATIENCE) == -9
    assert drive_it().wait(PATIENCE * 3) == 0
    assert killed == trials.count
    assert table(plan, records_in(out)) == straight
    trials.figure(f"{every} jobs")


def drive_on_two_nodes(plan_file: str, folder: str, kills: int) -> None:
    """A benchmark on a cluster of two nodes of one CPU, of which one is killed and replaced."""
    cluster_of: Any = importlib.import_module("ray.cluster_utils").Cluster

    jobs, records = read_plan(Path(plan_file)).jobs, records_in(Path(folder))
    cluster = cluster_of(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    node, done, killed = cluster.add_node(num_cpus=1), 0, 0

    def kill(_: object) -> None:
        nonlocal node, done, killed
        done += 1
        if killed < kills and done >= len(jobs) * (killed + 1) // (kills + 1):
            cluster.remove_node(node, allow_graceful=False)
            node, killed = cluster.add_node(num_cpus=1), killed + 1

    try:
        work(jobs, stub, records, Ray(cluster.address), progress=kill)
    finally:
        cluster.shutdown()
    sys.exit(killed != kills)


@pytest.mark.slow
@pytest.mark.skipif(NO_RAY, reason="Ray is not installed; it comes with the extra rarebooth[ray]")
@pytest.mark.skipif(not FULL, reason="a cluster takes long to start: make reliability does it")
@pytest.mark.trials("R25", "on Ray, a node killed three times", quick=0, full=1)
def test_killed_nodes_on_ray_cost_no_job(straight, trials, tmp_path):
    out, plan = tmp_path / "records", sweep(tmp_path)
    given = f"{str(tmp_path / 'plan.toml')!r}, {str(out)!r}, 3"
    for trial in trials:
        with trial:
            done = subprocess.run(
                [
                    sys.executable,
                    "-c",
                    f"import test_r25_sweeps as t; t.drive_on_two_nodes({given})",
                ],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                check=False,
                timeout=PATIENCE * 3,
            )
            assert done.returncode == 0, done.stderr[-2000:]
            assert table(plan, records_in(out)) == straight
    trials.figure(f"{len(plan.jobs)} jobs")
