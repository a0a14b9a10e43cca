"""Killed while a state is being written, again and again: there is always one that verifies."""

import random
from pathlib import Path

import pytest
import torch

from children import ended, started, wait_until
from rarebooth import store
from rarebooth.run import State


def state(done: int) -> State:
    """A state that says which one it is."""
    weights = {"w": torch.full((200_000,), float(done)), "v": torch.full((7,), float(done))}
    return State("denoiser", done, {}, weights, {"exp_avg": weights})


def newest(folder: Path) -> int:
    """The number of the last state by name, 0 where there is none."""
    return max((int(each.name[-8:]) for each in folder.glob("denoiser-*")), default=0)


def save_for_ever(folder: str) -> None:
    """Goes on from what is there, as a run does, and writes states until it is killed."""
    found, _ = store.load_state(Path(folder))
    done = found.done if found else 0
    while True:
        done += 1
        store.save_state(Path(folder), state(done))


@pytest.mark.trials("R4", "SIGKILL while states are written without a pause", quick=5, full=50)
def test_a_whole_state_is_there_after_every_kill(trials, tmp_path):
    moments, inside, before = random.Random(4), 0, 0
    folder = tmp_path / "state"
    for trial in trials:
        with trial as number:
            process = started(save_for_ever, str(folder))
            # It has begun when it has added a state to those that others before it had.
            wait_until(lambda before=before: newest(folder) > before, process)
            half = f".part-*-{process.pid}"
            if number % 2:  # at any moment; else soon after a write has begun
                process.join(moments.random() * 0.1)
            else:
                wait_until(lambda half=half: any(folder.glob(half)), process)
                process.join(moments.random() * 0.01)
            process.kill()
            assert ended(process) == -9
            inside += any(folder.glob(half))
            found, damaged = store.load_state(folder)
            assert damaged == []
            assert found is not None
            assert found.done >= before
            for tensors in (found.weights, found.optimiser["exp_avg"]):
                assert all((tensors[name] == found.done).all() for name in tensors)
            before = found.done
    trials.figure(f"{inside} inside a write; {before} states written")
    assert inside >= trials.count // 5
