"""The ways in which the engine can take steps, for methods that differ most in what they tune.

Each to losses near the plain loop's, and with a run that was interrupted ending bit for bit as one
that was not. (Of plain steps ``test_methods`` shows that, for every method.)
"""

from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from test_methods import same, small, subject_for

from rarebooth import store
from rarebooth.base import Session
from rarebooth.bases.sd import StableDiffusion
from rarebooth.methods import find
from rarebooth.run import Run
from test_little_memory import limited

APART = {"recomputing": 0.0, "bf16": 2e-2, "split": 1e-5, "compiled": 1e-4}
"""How far losses may be from the plain ones, as a share of these."""

GIVEN = {
    "two-stage": {"token_steps": 2, "steps": 2},
    "custom-diffusion": {"prior": False, "augment": False, "steps": 2},
    "dreambooth-lora": {"prior": False, "steps": 2},
}

every_mode = pytest.mark.parametrize("mode", APART)
every_kind = pytest.mark.parametrize("name", GIVEN)


@dataclass
class Taken:
    """What a run left: losses by step, the change that was learnt, and proof of its mode."""

    losses: list[float] = field(default_factory=list)
    learnt: Any = None
    told: list[str] = field(default_factory=list)
    compiled: set[Any] = field(default_factory=set)


@pytest.fixture(scope="module")
def engine(tiny_folder, tiny_base, tmp_path_factory):
    """Gives the run of a mode and a method, kept; the same anew; and where their states lie."""
    fast = cache(lambda: StableDiffusion.load(tiny_folder(), "tiny", "cpu", "bf16"))
    place = tmp_path_factory.mktemp("states")

    def run(mode, name, state: Path | None = None, *, narrow=True) -> Taken:
        base: Any = fast() if mode == "bf16" else tiny_base()
        taken, method = Taken(), small(name, **GIVEN[name])
        resume = None
        if state is not None:
            resume, damaged = store.load_state(state)
            assert resume is not None
            assert damaged == []
        with Session(base) as session, pytest.MonkeyPatch.context() as patch:
            if mode == "recomputing":
                session.lend(base.recomputing())
            if mode == "compiled":
                capture = partial(torch.compile, backend="eager")

                def compile_(plain, **options):
                    taken.compiled.add(plain)
                    return capture(plain, **options)

                patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(place / "compiled"))
                patch.setattr(torch, "compile", compile_)
                session.lend(base.compiled(pytest.fail))
            if mode == "split" and narrow:
                limited(patch, base, 1)
            loop = Run(2, resume, split=mode == "split", notice=taken.told.append)
            steps = method.fit(session, [subject_for(base)], loop)
            while True:
                try:
                    step = next(steps)
                except StopIteration as end:
                    taken.learnt = end.value
                    return taken
                taken.losses.append(float(step.loss))
                if step.done == 1 and step.stage == method.stages[-1] and state is None:
                    store.save_state(place / mode / name, step.state())

    return cache(run), run, place


@every_kind
@every_mode
def test_losses_are_near_those_of_the_plain_loop(mode, name, engine):
    straight, _, _ = engine
    plain, taken = straight("plain", name), straight(mode, name)
    assert taken.losses == pytest.approx(plain.losses, rel=APART[mode], abs=0)
    assert len(taken.losses) == 2 * len(find(name).stages)
    # Not because the mode is off.
    if mode == "bf16":
        assert taken.losses != plain.losses
    assert len(taken.told) == (len(find(name).stages) if mode == "split" else 0)
    assert bool(taken.compiled) == (mode == "compiled")


@every_kind
@every_mode
def test_a_run_continues_bit_for_bit(mode, name, engine):
    """Also where memory, unlike before, is enough for whole batches."""
    straight, run, states = engine
    whole = straight(mode, name)
    resumed = run(mode, name, states / mode / name, narrow=False)
    assert resumed.losses == whole.losses[-1:]
    assert same(resumed.learnt, whole.learnt)
