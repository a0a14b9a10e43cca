"""Jobs run anywhere, killed at any moment: each is recorded once, and the table is the same."""

import importlib.util
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

from bench_jobs import body, drive, poisoned, records_in, small_plan, stub, table
from children import ended, started, wait_until
from rarebooth.bench.executors import pool
from rarebooth.bench.executors.inline import Inline
from rarebooth.bench.executors.pool import Pool
from rarebooth.bench.executors.ray import Ray
from rarebooth.bench.record import Records
from rarebooth.bench.results import results
from rarebooth.bench.work import work
from rarebooth.errors import ResourceError, SettingsError

NO_RAY = importlib.util.find_spec("ray") is None


def clumsy(folder, job):
    """Dies by SIGKILL the first time that a job of seed 0 is run."""
    marker = Path(folder) / f"{job.subject}-{job.label}-{job.seed}"
    if job.seed == 0 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return stub(job)


def endless(folder, job):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def surroundings(job):
    time.sleep(0.2)  # so that both workers have some
    return {
        "pid": os.getpid(),
        "threads": torch.get_num_threads(),
        "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"],
        "left behind": tempfile.mkdtemp(),
    }


@pytest.fixture
def plan(tmp_path):
    return small_plan(tmp_path)


@pytest.fixture
def straight(plan, tmp_path):
    """The table of a run that nothing happened to."""
    records = records_in(tmp_path / "straight")
    work(plan.jobs, body, records, Inline())
    return table(plan, records)


@pytest.fixture
def forking(monkeypatch):
    """Pays for importing torch once; what starts is still a process of its own."""
    # Started by a pool, the server, which outlives it, would have its folder for temporary files.
    forkserver.ensure_running()
    monkeypatch.setattr(pool, "START", "forkserver")


def test_what_is_recorded_is_not_run_again(plan, tmp_path):
    records, run, told = records_in(tmp_path / "records"), [], []

    def counting(job):
        run.append(job)
        return body(job)

    work(plan.jobs[:5], counting, records, Inline(), progress=told.append)
    assert [(each.job, each.done, each.total) for each in told] == [
        (job, number, 5) for number, job in enumerate(plan.jobs[:5], start=1)
    ]
    work(plan.jobs, counting, records, Inline(), progress=told.append)
    assert run == plan.jobs
    assert (told[-1].done, told[-1].total) == (12, 12)
    record = records.find(plan.jobs[0])
    assert record is not None
    assert record == json.loads(records.path(plan.jobs[0]).read_text("utf-8"))
    assert record["body"] == body(plan.jobs[0])
    assert record["job"] == json.loads(json.dumps(plan.jobs[0].plain))
    name = records.path(plan.jobs[0]).name
    assert name == f"backpack-ours-0-{records.key(plan.jobs[0])[:12]}.json"
    assert sorted(records.folder.iterdir()) == sorted(map(records.path, plan.jobs))
    # Another base is another set of records, in the same folder.
    assert Records(records.folder, {"base": "other"}).pending(plan.jobs) == plan.jobs


def test_a_failure_is_recorded_without_paths_and_retried_when_asked(plan, tmp_path):
    records, run = records_in(tmp_path), []

    def failing(job):
        run.append(job)
        if job.subject == "can":
            raise ResourceError(
                f"no room in '{tmp_path}/my photos' or {tmp_path}/x.png; see and/or"
            )
        return body(job)

    work(plan.jobs, failing, records, Inline())
    can = [job for job in plan.jobs if job.subject == "can"]
    for job in can:
        record = records.find(job)
        assert record is not None
        assert (record["status"], record["body"]) == ("failed", None)
        assert record["error"] == "ResourceError: no room in ... or ...; see and/or"
    assert len(run) == 12
    work(plan.jobs, failing, records, Inline())
    assert len(run) == 12
    work(plan.jobs, body, records, Inline(), retry_failed=True)
    assert records.pending(plan.jobs, retry_failed=True) == []
    assert len(results(plan, records.load(plan.jobs)).subjects) == 4


def test_ctrl_c_leaves_whole_records_and_is_gone_on_from(plan, tmp_path, straight):
    records, left = records_in(tmp_path / "records"), [3]

    def interrupted(job):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return body(job)

    with pytest.raises(KeyboardInterrupt):
        work(plan.jobs, interrupted, records, Inline())
    assert sorted(records.folder.iterdir()) == sorted(map(records.path, plan.jobs[:3]))
    work(plan.jobs, body, records, Inline())
    assert table(plan, records) == straight


def test_a_damaged_record_counts_as_missing(plan, tmp_path):
    records, job = records_in(tmp_path), plan.jobs[0]
    work([job], body, records, Inline())
    path = records.path(job)
    whole = path.read_text("utf-8")
    sound = json.loads(whole)
    assert records.pending([job]) == []
    damaged = [whole[:length] for length in range(0, len(whole) - 2, 97)]
    for change in (
        {"format": 2},
        {"key": "0" * 64},
        {"status": "running"},
        {"body": None},
        {"status": "failed"},
    ):
        damaged.append(json.dumps({**sound, **change}))
    for text in [*damaged, "[]", "3", "\0"]:
        path.write_text(text, "utf-8")
        assert records.find(job) is None, text[:200]
    path.write_bytes(b"\xff\xfe" + whole.encode())
    assert records.pending([job]) == [job]
    work([job], body, records, Inline())
    assert records.find(job) == sound


@pytest.mark.usefixtures("forking")
def test_a_job_whose_process_dies_is_run_again(plan, tmp_path, straight):
    records = records_in(tmp_path / "records")
    work(plan.jobs, partial(clumsy, str(tmp_path)), records, Pool(2))
    assert len(list(tmp_path.glob("*-*-0"))) == 8
    assert table(plan, records) == straight


@pytest.mark.usefixtures("forking")
def test_what_goes_wrong_with_a_record_ends_the_workers(plan):
    def full(job, outcome):
        raise ResourceError("No space is left")

    with pytest.raises(ResourceError, match="No space"):
        Pool(2).run(plan.jobs, stub, full)
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_few_spawned_workers_do_all_jobs_with_their_threads(plan, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told = {}
    Pool(2, threads=3).run(
        plan.jobs, surroundings, lambda job, outcome: told.update({job: outcome})
    )
    assert told.keys() == set(plan.jobs)
    bodies = [outcome.body for outcome in told.values()]
    assert {(each["threads"], each["OMP_NUM_THREADS"]) for each in bodies} == {(3, "3")}
    processes = {each["pid"] for each in bodies}
    assert len(processes) <= 2
    assert os.getpid() not in processes
    assert not any(Path(each["left behind"]).exists() for each in bodies)
    assert all(Path(each["left behind"]).parents[1].exists() for each in bodies)
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("name", ["workers", "threads"])
def test_a_pool_needs_someone_to_work(name):
    with pytest.raises(SettingsError, match=f"{name} is 0"):
        Pool(**{"workers": 1, name: 0})


@pytest.mark.slow
def test_a_killed_benchmark_is_gone_on_with_to_the_same_bytes(plan, tmp_path, straight):
    dice, records = random.Random(0), records_in(tmp_path / "records")
    given = (drive, tmp_path / "plan.toml", records.folder, 0, stub)
    for target in (1, 4, 7):
        process = started(*given)
        wait_until(
            lambda target=target: len(list(records.folder.glob("*.json"))) >= target, process
        )
        process.join(dice.random() * 0.02)
        process.kill()
        assert ended(process) == -9
    assert records.pending(plan.jobs)
    assert ended(started(*given)) == 0
    assert table(plan, records) == straight


@pytest.mark.slow
@pytest.mark.usefixtures("plan")
def test_no_worker_outlives_its_parent(tmp_path):
    pids = tmp_path / "pids"
    pids.mkdir()
    act = partial(endless, str(pids))
    process = started(drive, tmp_path / "plan.toml", tmp_path / "records", 2, act)
    wait_until(lambda: len(list(pids.iterdir())) == 2, process)
    workers = [int(path.name) for path in pids.iterdir()]
    assert len(workers) == 2
    process.kill()
    process.join(30)
    give_up = time.monotonic() + 30
    while any(map(alive, workers)) and time.monotonic() < give_up:
        time.sleep(0.02)
    assert not any(map(alive, workers))


def alive(pid):
    try:
        # One that has ended, and that nobody has asked about yet, is still listed, as a zombie.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_ray_that_is_not_installed_is_named(plan, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r'pip install "rarebooth\[ray\]"'):
        Ray().run(plan.jobs, stub, lambda job, outcome: None)


def on_ray(folder):
    """Runs the plan on Ray on this machine, with workers that die; for a process of its own.

    What is said of it is in a file: Ray writes what its own processes say to the output.
    """
    plan, records = small_plan(folder), records_in(folder / "records")
    work(plan.jobs, partial(clumsy, str(folder)), records, Ray())
    assert "RAY_AUTH_TOKEN" not in os.environ
    more = Records(folder / "records", {"base": "other"})
    work(plan.jobs[:7], poisoned, more, Ray())
    said = [[record["error"] for record in more.load(plan.jobs).values()][-1]]
    try:
        work(plan.jobs[7:], stub, more, Ray(threads=10_000))
    except SettingsError as error:
        said.append(str(error))
    whole = Records(folder / "records", {"base": "third"})
    try:
        work(plan.jobs, unhurried, whole, Ray(), progress=end_ray_after_two)
    except ResourceError as error:
        said.append(str(error))
    errors = [record["error"] for record in whole.load(plan.jobs).values() if record["error"]]
    (folder / "said.json").write_text(json.dumps([*said, errors]), "utf-8")


def unhurried(job):
    """A job that is not over before anybody hears of two others."""
    time.sleep(1)
    return body(job)


def end_ray_after_two(step):
    """Kills what runs Ray's tasks on this machine, as running out of memory may."""
    for folder in Path("/proc").glob("[0-9]*") if step.done == 2 else ():
        name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
        if name == "raylet" and int(rest.split()[1]) == os.getpid():
            os.kill(int(folder.name), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(NO_RAY, reason="Ray is not installed; it comes with the extra rarebooth[ray]")
def test_ray_does_the_same_and_survives_dead_workers(plan, tmp_path, straight):
    # In a process of its own: Ray asks for this machine's address in a way that tests forbid.
    code = f"import test_bench_executors as t; t.on_ray(t.Path({str(tmp_path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*-*-0"))) == 8
    assert table(plan, records_in(tmp_path / "records")) == straight
    died, refused, ended, errors = json.loads((tmp_path / "said.json").read_text("utf-8"))
    assert died == (
        "WorkerDied: the process that ran it died 3 times, the last time by WorkerCrashedError"
    )
    assert refused.startswith("threads is 10000, and Ray has ")
    assert ended.startswith("Ray has come to an end")
    assert errors == [], "what Ray's end cost was recorded as failed"
