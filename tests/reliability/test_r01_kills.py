"""Killed at any moment, also inside a write: the same command ends in the same bytes."""

import random
import time
from pathlib import Path

import pytest

from children import ended, started, train_and_keep, wait_until
from training_jobs import files, record, same_result
from trials import FULL

BARE = ["--choose", "last", "--previews", "none"]
METHODS = {
    "two-stage": ["--token-steps", "8", "--steps", "16", "--lr", "1e-3", *BARE],
    "textual-inversion": ["--steps", "24", *BARE],
    "dreambooth-lora": ["--steps", "24", "--lr", "1e-3", *BARE],
    "custom-diffusion": ["--steps", "24", "--prior", "false", "--initial-word", "sks", *BARE],
}
OTHERS = {
    "dreambooth": ["--steps", "24", "--lr", "1e-3", "--prior", "false", *BARE],
    "hiper": ["--steps", "24", *BARE],
    "imagic": ["--embedding-steps", "8", "--steps", "16", "--lr", "1e-3", *BARE],
    "pivotal-lora": ["--token-steps", "8", "--steps", "16", *BARE],
    "two-stage, with class images, choice and sheet": [
        *("--token-steps", "6", "--steps", "8", "--lr", "1e-3"),
        *("--prior", "true", "--class-images", "6", "--choose", "held-out", "--previews", "sheet"),
    ],
}
SAID = "SIGKILL at a random moment, then the same command again"
# On each and not on the test: the mark of a test would win over theirs.
TRIED = [
    *(
        pytest.param(each, marks=pytest.mark.trials("R1", SAID, quick=1, full=50))
        for each in METHODS
    ),
    *(
        pytest.param(each, marks=pytest.mark.trials("R1", SAID, quick=0, full=20))
        for each in OTHERS
    ),
]
OFTEN = ["--save-state-every", "2", "--checkpoint-every", "8"]


def writes(folder: Path) -> bool:
    """Whether a run is inside a write, or was when it was killed."""
    cache = folder.with_name(f"{folder.name}-cache")
    return (
        any(folder.glob("state/.part-*"))
        or any(folder.rglob(".*.part"))
        or any(cache.rglob(".*.part"))
    )


def same_in_all(one: Path, other: Path) -> None:
    """The same run folder, the same states with their optimisers, the same class images.

    A kill leaves half a class image beside the whole ones, under a name that nothing reads.
    """
    same_result(one, other)
    for beside in ("states", "cache"):
        left, right = (files(each.with_name(f"{each.name}-{beside}")) for each in (one, other))
        assert left == {name: right[name] for name in right if not name.endswith(".part")}, beside


@pytest.mark.parametrize("method", TRIED if FULL else TRIED[: len(METHODS)])
def test_a_killed_run_ends_in_the_same_bytes(method, trials, photos, tiny_folder, tmp_path):
    moments = random.Random(method)
    own = (METHODS | OTHERS)[method]

    def begin(name):
        words = ["train", str(photos), "--noun", "dog", "--base", str(tiny_folder())]
        words += ["--method", method.partition(",")[0], "--device", "cpu", *OFTEN, *own]
        words += ["--out", str(tmp_path / name)]
        return started(train_and_keep, words, str(tmp_path / f"{name}.txt"))

    ended(started(time.sleep, 0))  # the server imports torch once, which is no run's time
    began = time.monotonic()
    assert ended(begin("straight")) == 0
    lasts = time.monotonic() - began
    kept = files(tmp_path / "straight-states")
    assert any("optimiser-exp_avg" in name for name in kept), "there is no optimiser to compare"
    inside = runs = 0
    folder = tmp_path / "run-0"
    for trial in trials:
        with trial as number:
            killed = False
            # One that is over before the blow falls was not killed: the next one is.
            while not killed:
                process = begin(folder.name)
                process.join(moments.random() * lasts)
                if number % 2:  # not at any moment, but in the next write
                    wait_until(lambda folder=folder: writes(folder), process)
                process.kill()
                killed = ended(process) == -9
                if killed:
                    inside += writes(folder)
                else:
                    same_in_all(tmp_path / "straight", folder)
                    runs += 1
                    folder = tmp_path / f"run-{runs}"
    assert ended(begin(folder.name)) == 0
    same_in_all(tmp_path / "straight", folder)
    assert record(folder)["status"] == "finished"
    trials.figure(f"{inside} inside a write; {runs + 1} runs ended, each bit for bit")
    assert inside >= trials.count // 10
