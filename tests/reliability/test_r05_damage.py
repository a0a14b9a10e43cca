"""Damage to the newest state, whichever file and however: it is named, and the one before used."""

import random
import shutil

import pytest

from rarebooth import store
from training_jobs import finish, record, same_result, stop_after

NEWEST, BEFORE = "denoiser-00000003", {"stage": "token", "step": 4}
TOLD = f"The saved state {NEWEST} is damaged and not used: the run continues after step 4 of stage"
NAMED = ([NEWEST], [BEFORE], [f"{TOLD} 'token'."])
ANEW = (
    f"The saved states {NEWEST} and token-00000004 are damaged and not used: the run begins anew."
)


@pytest.fixture
def damaged(job, tmp_path):
    """Gives copies of a run that stopped with two states, and what it would have come to."""
    finish(job("straight"))
    stop_after(job("stopped"), 8)
    count = 0

    def copy():
        nonlocal count
        count += 1
        name = f"run-{count}"
        shutil.copytree(tmp_path / "stopped", tmp_path / name)
        return name, tmp_path / name / "state" / NEWEST

    def continues(name):
        told = []
        finish(job(name), notice=told.append)
        same_result(tmp_path / "straight", tmp_path / name)
        said = record(tmp_path / name)
        shutil.rmtree(tmp_path / name)
        return said.get("damaged_states", []), said["resumed_from"], told

    return copy, continues


@pytest.mark.trials("R5", "one bit of the newest state flipped", quick=12, full=200)
def test_a_flipped_bit_is_found_by_its_hash(damaged, trials):
    copy, continues = damaged
    dice = random.Random(5)
    for trial in trials:
        with trial:
            name, state = copy()
            file = dice.choice(sorted(state.iterdir()))
            content = bytearray(file.read_bytes())
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
            file.write_bytes(content)
            assert continues(name) == NAMED


HARMS = [(number, harm) for number in range(6) for harm in ("empty", "half", "gone")]


@pytest.mark.trials("R6", "a file of the newest state empty, cut or gone", quick=4, full=18)
def test_a_file_that_is_cut_or_gone_is_noticed(damaged, trials):
    copy, continues = damaged
    for trial in trials:
        with trial as number:
            name, state = copy()
            files = sorted(state.iterdir())
            assert len(files) == 6  # weights, three slots, the finished stage, the manifest
            which, harm = HARMS[number * 5 % len(HARMS)]
            file = files[which]
            if harm == "gone":
                file.unlink()
            else:
                content = file.read_bytes()
                file.write_bytes(content[: len(content) // 2 if harm == "half" else 0])
            assert continues(name) == NAMED


@pytest.mark.trials("R6", "both states damaged: both named, and begun anew", quick=1, full=10)
def test_without_a_sound_state_the_run_begins_anew(damaged, trials):
    copy, continues = damaged
    for trial in trials:
        with trial:
            name, state = copy()
            for each in state.parent.iterdir():
                (each / store.WEIGHTS).write_bytes(b"")
            assert continues(name) == ([NEWEST, "token-00000004"], [], [ANEW])
