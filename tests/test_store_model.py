"""The store against a model of it: whatever was saved, damaged, killed or refused, in any order."""

import errno
import json
import os
import re
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
from trials import FULL as IN_FULL

STAGES = ("token", "denoiser")
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
OPTIMISER = "optimiser-m.safetensors"
DIGEST = re.compile(rb"[0-9a-f]{64}")
HARMS = ("cut", "flipped", "gone", "manifest cut", "manifest flipped", "digest flipped", "unlisted")


def made(place: tuple[int, int]) -> State:
    """The state of a stage and a step, whose numbers say which it is."""
    stage, done = place
    weights = {"w": torch.full((5,), float(done))}
    finished = {STAGES[0]: {"v": torch.ones(3)}} if stage else {}
    return State(STAGES[stage], done, finished, weights, {"m": weights})


def flipped(content: bytes, bit: int) -> bytes:
    """A file's content with one bit of it changed; ``bit`` counts round and round."""
    changed = bytearray(content)
    changed[bit // 8 % len(content)] ^= 1 << bit % 8
    return bytes(changed)


class Store(RuleBasedStateMachine):
    """A run that saves states, and what a person, a disk and a power cut do to them.

    ``sound``: the states that are whole on disk, as (stage, step). ``spoilt``: those whose files
    are not as the manifest says. ``lost``: those whose manifest is not what was written, or not of
    the files that are there. ``at``: where the run stands.
    """

    @initialize()
    def begin(self) -> None:
        """An empty folder."""
        self.folder = Path(tempfile.mkdtemp())
        self.sound: set[tuple[int, int]] = set()
        self.spoilt: set[tuple[int, int]] = set()
        self.lost: set[tuple[int, int]] = set()
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

    def identity(self, place: tuple[int, int]) -> tuple[int, int] | None:
        """What tells a state's folder from another of the same name; None where there is none."""
        path = self.path(place)
        return (path.stat().st_ino, path.stat().st_mtime_ns) if path.is_dir() else None

    def kept_beside(self, place: tuple[int, int]) -> set[tuple[int, int]]:
        """The state before a new one: the last whose manifest is as it was, whole or not."""
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
        self.lost = set()
        self.at = place

    @rule(steps=st.integers(1, 9), stage=st.booleans(), at=st.integers(1, 25), die=st.booleans())
    def save_in_vain(self, steps: int, stage: bool, at: int, die: bool) -> None:
        """Save on a full disk, or be killed: no sound state is lost but those that make room."""
        place = self.next(steps, stage)
        kept, before = self.kept_beside(place) & self.sound, self.identity(place)
        try:
            with faults(at, Died if die else FULL):
                store.save_state(self.folder, made(place))
        except (Died, ResourceError):
            pass
        found, _ = store.load_state(self.folder)
        if kept:
            assert found is not None
        new = {place} if self.identity(place) not in {None, before} else set[tuple[int, int]]()
        for group in (self.sound, self.spoilt, self.lost):
            gone = {each for each in group if not self.path(each).is_dir()}
            group.difference_update(gone | new)
        self.sound |= new
        assert kept <= self.sound
        self.resume()

    @precondition(lambda self: self.sound)
    @rule(
        data=st.data(),
        harm=st.sampled_from(HARMS),
        file=st.sampled_from([store.WEIGHTS, OPTIMISER]),
        bit=st.integers(0, 2**16),
    )
    def damage(self, data: st.DataObject, harm: str, file: str, bit: int) -> None:
        """Cut a file of a state that is whole, or flip a bit, or take it away."""
        place = data.draw(st.sampled_from(sorted(self.sound)))
        path, manifest = self.path(place) / file, self.path(place) / store.MANIFEST
        content, said = path.read_bytes(), manifest.read_bytes()
        digests = [each.span() for each in DIGEST.finditer(said)]
        match harm:
            case "cut":
                path.write_bytes(content[:-1])
            case "flipped":
                path.write_bytes(flipped(content, bit))
            case "gone":
                path.unlink()
            case "manifest cut":
                manifest.write_bytes(said[: bit % len(said)])
            case "manifest flipped":
                skipped = {byte for begin, end in digests for byte in range(begin, end)}
                others = [byte for byte in range(len(said)) if byte not in skipped]
                byte = others[bit // 8 % len(others)]
                manifest.write_bytes(flipped(said, 8 * byte + bit % 8))
            case "digest flipped":  # to another letter: the manifest stays a manifest
                begin, _ = digests[bit % len(digests)]
                manifest.write_bytes(flipped(said, 8 * (begin + bit % 64)))
            case _:
                less = json.loads(said)
                del less["sha256"][file]
                manifest.write_text(json.dumps(less, indent=2), "utf-8")
        self.sound.discard(place)
        spoilt = harm in {"cut", "flipped", "digest flipped"}
        (self.spoilt if spoilt else self.lost).add(place)

    @rule()
    def resume(self) -> None:
        """Continue: from the furthest state that is sound, or from the beginning."""
        found, damaged = store.load_state(self.folder)
        furthest = max(self.sound, default=None)
        passed = [each for each in self.spoilt if furthest is None or each > furthest]
        names = sorted((self.path(each).name for each in self.lost), reverse=True)
        assert damaged == names + [self.path(each).name for each in sorted(passed, reverse=True)]
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
            max_examples=500 if IN_FULL else 25,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
