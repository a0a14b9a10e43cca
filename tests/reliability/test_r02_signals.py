"""Ctrl-C and SIGTERM: the state of that step is saved, and a second one leaves at once."""

import os
import random
import signal
import time

import pytest

from children import PATIENCE, ended, run, send, start, started, wait_until
from rarebooth import store
from training_jobs import record, same_result
from trials import FULL

STEPS = 80 if FULL else 30
STAGES = ["--token-steps", "40" if FULL else "15", "--steps", str(STEPS)]
LONG = [*STAGES, "--save-state-every", str(STEPS - 1)]
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def words(photos, tiny_folder, tmp_path):
    """Gives the command that trains into a folder of that name."""

    def make(name, method=()):
        said = ["train", str(photos), "--noun", "dog", "--base", str(tiny_folder())]
        said += ["--device", "cpu", "--choose", "last", "--previews", "none", *(method or LONG)]
        return [*said, "--out", str(tmp_path / name)]

    return make


@pytest.fixture
def train(words, tmp_path):
    """Starts it."""
    return lambda name: start(words(name), tmp_path / f"{name}.txt")


def stopped(process, folder, moments, lasts):
    """Waits for a random moment of a training that is under way."""
    wait_until((folder / "run.json").is_file, process)
    process.join(moments.random() * lasts)


@pytest.mark.trials(
    "R2", "SIGINT or SIGTERM at a random step: saved within 10 s, code 130", quick=1, full=20
)
def test_a_signal_saves_the_step_and_the_run_continues(train, trials, tmp_path):
    moments, slowest = random.Random(2), 0.0
    ended(started(time.sleep, 0))  # the server imports torch once, which is no run's time
    began = time.monotonic()
    assert ended(train("straight")) == 0
    lasts = (time.monotonic() - began) / 4
    for trial in trials:
        with trial as number:
            folder = tmp_path / f"run-{number}"
            process = train(folder.name)
            stopped(process, folder, moments, lasts)
            asked = time.monotonic()
            send(process, SIGNALS[number % 2])
            code = ended(process)
            slowest = max(slowest, time.monotonic() - asked)
            assert code == 130, (tmp_path / f"{folder.name}.txt").read_text("utf-8")
            assert slowest < 10
            assert record(folder)["status"] == "interrupted"
            assert store.load_state(folder / "state")[0] is not None
            assert ended(train(folder.name)) == 0
            assert len(record(folder)["resumed_from"]) == 1
            same_result(tmp_path / "straight", folder)
    trials.figure(f"at most {slowest:.1f} s until it had left")


@pytest.mark.trials(
    "R2", "a second SIGINT leaves within 2 s, and nothing half is taken for whole", quick=1, full=10
)
def test_a_second_signal_leaves_at_once(train, trials, tmp_path):
    moments, slowest = random.Random(3), 0.0
    assert ended(train("straight")) == 0
    for trial in trials:
        with trial as number:
            folder = tmp_path / f"run-{number}"
            process = train(folder.name)
            stopped(process, folder, moments, 0.5)
            send(process, signal.SIGINT)
            time.sleep(moments.random() * 0.05)
            asked = time.monotonic()
            send(process, signal.SIGINT)
            assert ended(process) == 130
            slowest = max(slowest, time.monotonic() - asked)
            assert slowest < 2
            assert store.load_state(folder / "state")[1] == []
            assert ended(train(folder.name)) == 0
            same_result(tmp_path / "straight", folder)
    trials.figure(f"at most {slowest:.1f} s")


def asked_to_stop_before_a_step(words, said, moment) -> None:
    """A command that gets SIGTERM while it opens its base, or measures how long it will take."""
    from rarebooth import plan
    from rarebooth.cli import job as screen

    def hangs(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*((plan, "open_base") if moment == "opening" else (screen, "quote")), hangs)
        run(words, said)


@pytest.mark.trials("R2", "SIGTERM before the first step: code 130 at once", quick=2, full=2)
def test_a_signal_before_the_first_step_ends_with_its_code(words, trials, tmp_path):
    for trial in trials:
        with trial as number:
            said = tmp_path / f"{number}.txt"
            moment = ("opening", "quoting")[number]
            process = started(asked_to_stop_before_a_step, words("run"), str(said), moment)
            assert ended(process) == 130
            assert "Stopped before a step was taken." in said.read_text("utf-8")
