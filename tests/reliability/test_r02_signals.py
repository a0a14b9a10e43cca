"""Ctrl-C and SIGTERM: the state of that step is saved, and a second one leaves at once."""

import json
import os
import random
import signal
import time

import pytest

from children import PATIENCE, ended, run, send, start, started, wait_until
from rarebooth import methods, store
from training_jobs import record, same_result
from trials import FULL

STEPS = 80 if FULL else 30
STAGES = ["--token-steps", "40" if FULL else "15", "--steps", str(STEPS)]
LONG = [*STAGES, "--save-state-every", str(STEPS - 1)]
SAID = "SIGINT or SIGTERM at a random step: that step saved within 10 s, code 130"
OTHERS = {
    "textual-inversion": [],
    "dreambooth-lora": ["--lr", "1e-3"],
    "custom-diffusion": ["--prior", "false", "--initial-word", "sks"],
    "dreambooth": ["--lr", "1e-3", "--prior", "false"],
    "hiper": [],
    "imagic": ["--embedding-steps", "40", "--lr", "1e-3"],
    "pivotal-lora": ["--token-steps", "40"],
}
# On each and not on the test: the mark of a test would win over theirs.
TRIED = [
    pytest.param("two-stage", marks=pytest.mark.trials("R2", SAID, quick=1, full=20)),
    *(
        pytest.param(each, marks=pytest.mark.trials("R2", SAID, quick=0, full=10))
        for each in OTHERS
    ),
]
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def words(photos, tiny_folder, tmp_path):
    """Gives the command that trains into a folder of that name."""

    def make(name, method="two-stage"):
        own = LONG if method == "two-stage" else [*LONG[2:], *OTHERS[method]]
        said = ["train", str(photos), "--noun", "dog", "--base", str(tiny_folder())]
        said += ["--device", "cpu", "--choose", "last", "--previews", "none", "--method", method]
        return [*said, *own, "--out", str(tmp_path / name)]

    return make


@pytest.fixture
def train(words, tmp_path):
    """Starts it."""
    return lambda *given: start(words(*given), tmp_path / f"{given[0]}.txt")


def stopped(process, folder, moments, lasts):
    """Waits for a random moment of a training that is under way."""
    wait_until((folder / "run.json").is_file, process)
    process.join(moments.random() * lasts)


def last_logged(folder):
    """The stage and step of the last line of ``steps.jsonl``."""
    said = json.loads((folder / "steps.jsonl").read_text("utf-8").splitlines()[-1])
    return said["stage"], said["step"]


def test_every_method_is_signalled():
    assert {"two-stage", *OTHERS} == {*methods.TABLE}


@pytest.mark.parametrize("method", TRIED if FULL else TRIED[:1])
def test_a_signal_saves_the_step_and_the_run_continues(method, train, trials, tmp_path):
    moments, slowest = random.Random(method), 0.0
    ended(started(time.sleep, 0))  # the server imports torch once, which is no run's time
    began = time.monotonic()
    assert ended(train("straight", method)) == 0
    lasts = (time.monotonic() - began) / 4
    for trial in trials:
        with trial as number:
            folder = tmp_path / f"run-{number}"
            process = train(folder.name, method)
            stopped(process, folder, moments, lasts)
            asked = time.monotonic()
            send(process, SIGNALS[number % 2])
            code = ended(process)
            slowest = max(slowest, time.monotonic() - asked)
            assert code == 130, (tmp_path / f"{folder.name}.txt").read_text("utf-8")
            assert slowest < 10
            assert record(folder)["status"] == "interrupted"
            state, damaged = store.load_state(folder / "state")
            assert state is not None
            assert ((state.stage, state.done), damaged) == (last_logged(folder), [])
            assert ended(train(folder.name, method)) == 0
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
