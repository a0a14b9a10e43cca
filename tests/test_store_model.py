"""The store against a model of it: whatever was saved, damaged, killed or refused, in any order."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from faults import Died, faults
from rarebooth import store
from rarebooth.errors import ResourceError
from rarebooth.run import State

STAGES = ("token", "denoiser")
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def made(place: tuple[int, int]) -> State:
    """The state of a stage and a step, whose numbers say which it is."""
    stage, done = place
    weights = {"w": torch.full((5,), float(done))}
    finished = {STAGES[0]: {"v": torch.ones(3)}} if stage else {}
    return State(STAGES[stage], done, finished, weights, {"m": weights})


class Store(RuleBasedStateMachine):
    """A run that saves states, and what a person, a disk and a power cut do to them.

    ``sound``: the states that are whole on disk, as (stage, step). ``spoilt``: those that are not
    and whose manifests are. ``at``: where the run stands.
    """

    @initialize()
    def begin(self) -> None:
        """An empty folder."""
        self.folder = Path(tempfile.mkdtemp())
        self.sound: set[tuple[int, int]] = set()
        self.spoilt: set[tuple[int, int]] = set()
        self.at = (0, 0)

    def teardown(self) -> None:
        """Nothing is left behind."""
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def path(self, place: tuple[int, int]) -> Path:
        """Where a state lies."""
        return self.folder / f"{STAGES[place[0]]}-{place[1]:08d}"

    def next(self, steps: int, stage: bool) -> tuple[int, int]:
        """Where the run will be a few steps on."""
        stage_now, done = self.at
        return (1, steps) if stage and not stage_now else (stage_now, done + steps)

    def kept_beside(self, place: tuple[int, int]) -> set[tuple[int, int]]:
        """The state before a new one: the last whose manifest can be read, whole or not."""
        earlier = [each for each in self.sound | self.spoilt if each < place]
        return {max(earlier)} if earlier else set()

    @rule(steps=st.integers(1, 9), stage=st.booleans())
    def save(self, steps: int, stage: bool) -> None:
        """Save: this state and the one before it are there, and no other."""
        place = self.next(steps, stage)
        store.save_state(self.folder, made(place))
        left = {place} | self.kept_beside(place)
        names = {entry.name for entry in self.folder.iterdir()}
        # What a kill has left beside is swept away when the run continues.
        assert {name for name in names if name[0] != "."} == {self.path(each).name for each in left}
        self.sound = {place} | (left & self.sound)
        self.spoilt &= left - {place}
        self.at = place

    @rule(steps=st.integers(1, 9), stage=st.booleans(), at=st.integers(1, 25), die=st.booleans())
    def save_in_vain(self, steps: int, stage: bool, at: int, die: bool) -> None:
        """Save on a full disk, or be killed: no sound state is lost but those that make room."""
        place = self.next(steps, stage)
        kept = self.kept_beside(place) & self.sound
        try:
            with faults(at, Died if die else FULL):
                store.save_state(self.folder, made(place))
        except (Died, ResourceError):
            pass
        found, _ = store.load_state(self.folder)
        if kept:
            assert found is not None
        there = {each for each in self.sound | {place} if self.path(each).is_dir()}
        assert kept <= there
        self.sound = there - (self.spoilt - {place})
        self.spoilt = {each for each in self.spoilt - {place} if self.path(each).is_dir()}
        self.resume()

    @precondition(lambda self: self.sound)
    @rule(data=st.data(), file=st.sampled_from([store.MANIFEST, store.WEIGHTS]))
    def damage(self, data: st.DataObject, file: str) -> None:
        """Cut a file of a state that is whole."""
        place = data.draw(st.sampled_from(sorted(self.sound)))
        path = self.path(place) / file
        path.write_bytes(path.read_bytes()[:-1] if file == store.WEIGHTS else b"{")
        self.sound.discard(place)
        if file == store.WEIGHTS:
            self.spoilt.add(place)

    @rule()
    def resume(self) -> None:
        """Continue: from the furthest state that is sound, or from the beginning."""
        found, _ = store.load_state(self.folder)
        furthest = max(self.sound, default=None)
        if furthest is None:
            assert found is None
            self.at = (0, 0)
            return
        assert found is not None
        assert (STAGES.index(found.stage), found.done) == furthest
        assert bool((found.weights["w"] == found.done).all())
        assert bool((found.optimiser["m"]["w"] == found.done).all())
        self.at = furthest


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.usefixtures("_quick_disk")
def test_the_store_is_what_its_model_is():
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Store,
        settings=settings(
            max_examples=25,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
