"""Killed at any moment, also inside a save: the same command ends in the same bytes."""

import random
import time

import pytest
from children import ended, start, started

from training_jobs import record, same_result

METHODS = {
    "two-stage": ["--token-steps", "8", "--steps", "16", "--lr", "1e-3"],
    "textual-inversion": ["--steps", "24"],
    "dreambooth-lora": ["--steps", "24", "--lr", "1e-3"],
    "custom-diffusion": ["--steps", "24", "--prior", "false", "--initial-word", "sks"],
}
OFTEN = ["--save-state-every", "2", "--checkpoint-every", "8", "--previews", "none"]


@pytest.mark.trials(
    "R1", "SIGKILL at a random moment, then the same command again", quick=1, full=50
)
@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_ends_in_the_same_bytes(method, trials, photos, tiny_folder, tmp_path):
    moments = random.Random(method)

    def train(name):
        words = ["train", str(photos), "--noun", "dog", "--base", str(tiny_folder())]
        words += ["--method", method, "--device", "cpu", "--choose", "last", *OFTEN]
        words += [*METHODS[method], "--out", str(tmp_path / name)]
        return start(words, tmp_path / f"{name}.txt")

    ended(started(time.sleep, 0))  # the server imports torch once, which is no run's time
    began = time.monotonic()
    assert ended(train("straight")) == 0
    lasts = time.monotonic() - began
    inside = runs = 0
    folder = tmp_path / "run-0"
    for trial in trials:
        with trial:
            killed = False
            # One that is over before the blow falls was not killed: the next one is.
            while not killed:
                process = train(folder.name)
                process.join(moments.random() * lasts)
                process.kill()
                killed = ended(process) == -9
                if killed:
                    inside += any(folder.glob("state/.part-*")) or any(folder.rglob(".*.part"))
                else:
                    same_result(tmp_path / "straight", folder)
                    runs += 1
                    folder = tmp_path / f"run-{runs}"
    assert ended(train(folder.name)) == 0
    same_result(tmp_path / "straight", folder)
    assert record(folder)["status"] == "finished"
    trials.figure(f"{inside} inside a write; {runs + 1} runs ended, each bit for bit")
