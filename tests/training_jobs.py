"""A small training as a job on disk: ``photos``, ``toy``, ``job``; ``quick_drawing`` beside it."""

import json
from dataclasses import replace
from itertools import islice

import pytest
from PIL import Image

from rarebooth import evaluation, training
from rarebooth import plan as plan_module
from rarebooth.plan import Plan, plan
from toy_base import ToyBase, toy_subject

SMALL = {
    "noun": "dog",
    "base": "toy",
    "device": "cpu",
    "token_steps": 4,
    "token_lr": 0.05,
    "steps": 5,
    "lr": 1e-3,
    "checkpoint_every": 2,
    "save_state_every": 3,
    "previews": "none",
    "choose": "last",
}
PLACES = [("token", done) for done in range(1, 5)] + [("denoiser", done) for done in range(1, 6)]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos of rex"
    folder.mkdir()
    for photo in toy_subject().photos:
        Image.fromarray(photo.pixels).resize((64, 64), Image.Resampling.NEAREST).save(
            folder / photo.name
        )
    return folder


@pytest.fixture
def toy(monkeypatch):
    """Makes every base that is asked for the toy; returns that one toy."""
    base = ToyBase()
    monkeypatch.setattr(plan_module, "open_base", lambda *_, **__: base)
    return base


@pytest.fixture
def job(photos, toy, tmp_path):
    """Gives the same training into a folder of that name, checked anew at every call."""

    def make(name="run", **flags) -> Plan:
        return plan(photos, {**SMALL, **flags}, out=tmp_path / name)

    return make


@pytest.fixture
def quick_drawing(monkeypatch) -> None:
    """Draws in one sampler step: enough for a random model."""
    preset_for = plan_module.preset_for

    def quick(name):
        preset = preset_for(name)
        draw, preview = (replace(each, sampler_steps=1) for each in (preset.draw, preset.preview))
        return replace(preset, draw=draw, preview=preview)

    for module in (plan_module, evaluation):
        monkeypatch.setattr(module, "preset_for", quick)


def finish(job, **options):
    return [(step.stage, step.done) for step in training.train(job, **options)]


def stop_after(job, count):
    """Take so many steps and no more; returns the last."""
    steps = training.train(job)
    taken = list(islice(steps, count))
    steps.close()
    return taken[-1]


def files(folder):
    """Every file below a folder by name, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def same_result(one, other):
    """All that a run leaves is the same, but for ``run.json``, which tells how it went.

    And but for who held it, which is left where a process is killed as it lets go.
    """
    left, right = files(one), files(other)
    for found in (left, right):
        del found["run.json"]
        found.pop(".owner", None)
    assert left.keys() == right.keys()
    for name in left:
        assert left[name] == right[name], name


def record(folder):
    return json.loads((folder / "run.json").read_text("utf-8"))
