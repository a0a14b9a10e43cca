"""Two owners of one run folder: one trains, the other is told who; a dead owner owns nothing."""

import os
import platform
import time
from pathlib import Path

import pytest

from children import barrier, ended, run, started
from rarebooth import store
from rarebooth.errors import BusyError
from training_jobs import record
from trials import FULL


def race(folder: str, begin, tried, said: str) -> None:
    """Try to hold a folder at the same moment as another; say what came of it, and how long."""
    begin.wait()
    began = time.monotonic()
    try:
        with store.lock(Path(folder)):
            Path(said).write_text("won", "utf-8")
            tried.wait()
    except BusyError as error:
        took = time.monotonic() - began
        Path(said).write_text(f"{took} {error.exit_code} {error}", "utf-8")
        tried.wait()


@pytest.mark.trials("R9", "two processes take the same folder at once", quick=3, full=100)
def test_exactly_one_of_two_wins(trials, tmp_path):
    slowest = 0.0
    for trial in trials:
        with trial as number:
            folder = tmp_path / str(number)
            begin, tried = barrier(2), barrier(2)
            files = [tmp_path / f"{number}-{each}.txt" for each in "ab"]
            racers = [started(race, str(folder), begin, tried, str(file)) for file in files]
            assert [ended(racer) for racer in racers] == [0, 0]
            said = [file.read_text("utf-8") for file in files]
            assert said.count("won") == 1
            loser = 1 - said.index("won")
            took, code, told = said[loser].split(" ", 2)
            slowest = max(slowest, float(took))
            assert (code, float(took) < 1) == ("2", True)
            winner = racers[1 - loser].pid
            assert f"process {winner} on {platform.node()}" in told
    trials.figure(f"the loser knew after {slowest * 1000:.0f} ms at most")


def train_in_a_race(words: list[str], begin, left, said: str) -> None:
    """A command that begins with another; who may train goes on when the other has left."""
    from rarebooth import training

    keep_photos, busy, found = training._keep_photos, store._busy, []

    def waits(*given):
        left.wait()
        keep_photos(*given)

    def noted(folder):
        found.append(time.monotonic())
        return busy(folder)

    training._keep_photos, store._busy = waits, noted
    begin.wait()
    try:
        run(words, said)
    finally:
        if found:
            Path(said).with_suffix(".took").write_text(str(time.monotonic() - found[0]), "utf-8")
            left.wait()


@pytest.mark.trials("R9", "two commands train into the same folder at once", quick=2, full=30)
def test_exactly_one_of_two_commands_trains(trials, photos, tiny_folder, tmp_path):
    words = ["train", str(photos), "--noun", "dog", "--base", str(tiny_folder()), "--device", "cpu"]
    words += ["--choose", "last", "--previews", "none", "--steps", "2", "--token-steps", "2"]
    slowest = 0.0
    for trial in trials:
        with trial as number:
            begin, left = barrier(2), barrier(2)
            files = [tmp_path / f"{number}-{each}.txt" for each in "ab"]
            command = [*words, "--out", str(tmp_path / f"run-{number}")]
            racers = [started(train_in_a_race, command, begin, left, str(file)) for file in files]
            codes = [ended(racer) for racer in racers]
            assert sorted(map(str, codes)) == ["0", "2"], [file.read_text() for file in files]
            loser = codes.index(2)
            told, winner = files[loser].read_text("utf-8"), racers[1 - loser].pid
            assert f"process {winner} on {platform.node()}" in told
            slowest = max(slowest, float(files[loser].with_suffix(".took").read_text("utf-8")))
            assert slowest < (1 if FULL else 10)  # other tests run at the same time
            assert record(tmp_path / f"run-{number}")["status"] == "finished"
    trials.figure(f"the loser had left after {slowest * 1000:.0f} ms at most")


def hold(folder: str, said: str) -> None:
    """Hold a folder until killed."""
    with store.lock(Path(folder)):
        Path(said).write_text(str(os.getpid()), "utf-8")
        time.sleep(120)


@pytest.mark.trials("R9", "the owner is killed: the next one starts at once", quick=2, full=20)
def test_a_dead_owner_owns_nothing(trials, tmp_path):
    for trial in trials:
        with trial as number:
            folder, said = tmp_path / "run", tmp_path / f"{number}.txt"
            owner = started(hold, str(folder), str(said))
            give_up = time.monotonic() + 60
            while not said.is_file() and time.monotonic() < give_up:
                time.sleep(0.005)
            with pytest.raises(BusyError, match="Another process"):
                store.require_free(folder)
            owner.kill()
            assert ended(owner) == -9
            store.require_free(folder)
            with store.lock(folder):
                assert str(os.getpid()) in (folder / store.OWNER).read_text("utf-8")
