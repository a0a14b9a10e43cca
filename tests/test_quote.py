"""A quote: which parts it has, that it leaves no trace, and what it makes of a measured pace."""

import json
import os
import stat
from dataclasses import replace
from itertools import count

import pytest
import torch

from rarebooth import plan as plan_module
from rarebooth import quote as quote_module
from rarebooth import store, training
from rarebooth.base import Session
from rarebooth.class_images import CACHE
from rarebooth.cli import job as screen
from rarebooth.errors import DivergedError, Interrupted
from rarebooth.quote import (
    CLASS_IMAGES,
    FILES,
    FIRST_PICTURE,
    PREPARATION,
    PROBES,
    Quote,
    _Drawing,
    quote,
)
from rarebooth.training import CHOICE, SHEET, class_cache
from training_jobs import finish, record


def test_a_quote_names_every_part_of_the_run_in_its_order(job):
    quoted = quote(job(previews="sheet", choose="held-out"))
    stages = ["token", FIRST_PICTURE, FILES, "denoiser"]
    assert list(quoted.seconds) == [PREPARATION, *stages, CHOICE, SHEET]
    assert all(seconds > 0 for part, seconds in quoted.seconds.items() if part != PREPARATION)
    assert quoted.seconds[PREPARATION] >= 0  # of so little the first step may be the quickest
    assert quoted.total == pytest.approx(sum(quoted.seconds.values()))
    bare = quote(job(previews="none", choose="last"))
    assert list(bare.seconds) == [PREPARATION, "token", FILES, "denoiser"]


def test_disk_and_memory_are_those_of_the_plan_and_of_this_process(job):
    planned = job()
    quoted = quote(planned)
    assert quoted.disk == planned.disk_needed
    assert quoted.memory is not None
    assert quoted.memory > 100e6  # torch alone takes as much


@pytest.mark.parametrize(
    ("cadence", "states"),
    [
        ({"steps": 2, "checkpoint_every": 2, "save_state_every": 2}, 1),
        ({"steps": 4, "checkpoint_every": 2, "save_state_every": 3}, 2),
        ({"steps": 3, "checkpoint_every": 3, "save_state_every": 1}, 2),
        ({"steps": 4, "checkpoint_every": 1, "save_state_every": 1}, 2),
    ],
)
def test_the_disk_of_a_plan_is_the_most_that_a_run_holds_which_is_interrupted(
    cadence, states, job, tiny_base, monkeypatch
):
    monkeypatch.setattr(plan_module, "open_base", lambda *_, **__: tiny_base())
    planned = job(**cadence)
    held: list[int] = []
    flush = store.flush

    def seen(folder):
        flush(folder)
        files = planned.folder.path.rglob("*.safetensors")
        held.append(sum(file.stat().st_size for file in files))

    monkeypatch.setattr(store, "flush", seen)
    asked, first = count(1), planned.lengths["token"] + 1
    with pytest.raises(Interrupted):
        finish(planned, stop=lambda: next(asked) == first)
    finish(planned.seen_again())
    assert min(2, planned.states + 1) == states
    assert planned.disk_needed == pytest.approx(max(held), rel=0.1)


def test_checkpoints_of_adapters_are_counted_as_they_are_kept(
    photos, tiny_base, tmp_path, monkeypatch
):
    base = tiny_base()
    monkeypatch.setattr(plan_module, "open_base", lambda *_, **__: base)
    asked = {"noun": "dog", "base": "toy", "method": "dreambooth-lora", "rank": 32, "steps": 3}
    asked |= {"checkpoint_every": 1, "previews": "none", "choose": "last"}
    planned = plan_module.plan(photos, asked, out=tmp_path / "run")
    finish(planned)
    kept = [planned.folder.checkpoint(name).stat().st_size for name in ("1", "2", "3")]
    assert sum(kept) == pytest.approx(3 * 4 * planned.trained, rel=0.1)
    assert sum(kept) < planned.disk_needed


def test_no_step_is_tried_where_none_is_left(job, monkeypatch):
    steps = training.train(job(choose="last", previews="sheet"))
    for step in steps:
        if step.stage == SHEET:
            break
    steps.close()
    left = job(choose="last", previews="sheet")
    assert left.all_taken
    assert not left.finished
    assert screen._quoted(left) is None


def test_a_stage_that_takes_no_step_is_not_tried(job):
    planned = job(token_steps=0)
    assert planned.settings.method.shortened(3, last=6).lengths() == {"token": 0, "denoiser": 5}
    assert quote(planned).seconds["token"] == 0


def test_quoting_writes_nothing_and_changes_nothing_of_what_is_learnt(job, tmp_path):
    finish(job("unquoted"))
    planned = job("quoted")
    before = {
        part: {name: value.clone() for name, value in planned.base.part(part).named_parameters()}
        for part in ("denoiser", "text")
    }
    quote(planned)
    assert not planned.folder.path.exists()
    for part, weights in before.items():
        for name, value in planned.base.part(part).named_parameters():
            assert torch.equal(value, weights[name]), name
            assert not value.requires_grad
            assert value.grad is None
    finish(planned)
    one, other = (tmp_path / name / "subject.safetensors" for name in ("unquoted", "quoted"))
    assert one.read_bytes() == other.read_bytes()


def test_a_method_that_augments_is_not_tried_with_all_that_it_makes(
    photos, tiny_base, tmp_path, monkeypatch
):
    base, encoded = tiny_base(), []
    monkeypatch.setattr(plan_module, "open_base", lambda *_, **__: base)
    monkeypatch.setattr(quote_module, "_drawing", lambda _: _Drawing(0.0, 1000.0, 0.0))
    posterior = base.posterior

    def noted(images):
        encoded.append(len(images))
        return posterior(images)

    monkeypatch.setattr(base, "posterior", noted)
    asked = {"noun": "dog", "base": "toy", "method": "custom-diffusion", "initial_word": "sks"}
    asked |= {"prior": "false", "variants": 8, "previews": "none", "choose": "last", "steps": 2}
    planned = plan_module.plan(photos, asked, out=tmp_path / "run")
    count = len(planned.subjects[0].images)
    seconds = quote(planned).seconds[PREPARATION]
    assert max(encoded) == count
    assert seconds == pytest.approx(7 * count * 1000, rel=0.01)


def test_class_images_that_are_kept_already_cost_less(job, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(quote_module, "_drawing", lambda _: _Drawing(10.0, 1.0, 3.0))
    planned = job(prior="true", class_images=4, previews="none", choose="last")
    forwards = planned.settings.preset.draw.forwards
    assert quote(planned).seconds[CLASS_IMAGES] == 4 * (forwards * 10 + 3) + 4
    with Session(planned.base) as session:
        (prompt,) = planned.settings.method.class_prompts(["dog"])
        class_cache(planned)(session, prompt, 3)
    assert quote(planned).seconds[CLASS_IMAGES] == 1 * (forwards * 10 + 3) + 4


def test_steps_and_pictures_are_multiplied_by_what_one_takes(job, monkeypatch):
    planned = job(previews="sheet", choose="held-out", probe_every=2)
    monkeypatch.setattr(quote_module, "_pace", lambda _: (7.0, {"token": 2.0, "denoiser": 3.0}))
    monkeypatch.setattr(quote_module, "_drawing", lambda _: _Drawing(0.5, 0.0, 2.0))
    monkeypatch.setattr(quote_module, "_seconds_a_byte", lambda *_: 0.25)
    each = planned.settings.preset.preview.forwards * 0.5 + 2
    lengths = planned.lengths
    whole = [name for name in planned.checkpoints if name != "stage-one"]
    assert quote(planned).seconds == {
        PREPARATION: 7.0,
        "token": 2.0 * lengths["token"],
        FIRST_PICTURE: each,
        PROBES: 2 * 16 * 0.5,
        FILES: planned.trained * (2 * (len(whole) + 1) + 12) * 0.25,
        "denoiser": 3.0 * lengths["denoiser"],
        CHOICE: len(whole) * 16 * each,
        SHEET: (len(whole) + 2) * 6 * each,
    }


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def slow(self, work, seconds):
        def slowed(*given, **more):
            self.now += seconds(*given)
            return work(*given, **more)

        return slowed


def bytes_behind(handle):
    status = os.fstat(handle)
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


@pytest.mark.usefixtures("quick_drawing")
def test_a_run_takes_what_was_quoted(job, tiny_base, monkeypatch):
    base, clock = tiny_base(), Clock()
    monkeypatch.setattr(plan_module, "open_base", lambda *_, **__: base)
    monkeypatch.setattr(
        base, "posterior", clock.slow(base.posterior, lambda images: 20 * len(images))
    )
    planned = job(steps=12, checkpoint_every=6, save_state_every=2, previews="sheet", probe_every=3)
    monkeypatch.setattr(quote_module.time, "perf_counter", clock)
    # A picture's pass takes a second, and every part of the run at least a tenth of the whole.
    monkeypatch.setattr(base, "denoise", clock.slow(base.denoise, lambda noisy, *_: len(noisy)))
    monkeypatch.setattr(base, "decode", clock.slow(base.decode, lambda latents: 3 * len(latents)))
    bytes_a_second = planned.trained * 12 / 10
    monkeypatch.setattr(
        os, "fsync", clock.slow(os.fsync, lambda file: bytes_behind(file) / bytes_a_second)
    )
    quoted = quote(planned)
    began = clock.now
    finish(planned)
    assert quoted.total == pytest.approx(clock.now - began, rel=0.1)
    parts = (PREPARATION, PROBES, FILES, SHEET)
    assert min(quoted.seconds[part] for part in parts) > 0.1 * quoted.total


def test_what_is_left_follows_the_pace_that_was_found():
    quoted = Quote({"token": 10.0, "denoiser": 40.0, "sheet": 5.0}, None, 0)
    assert quoted.after("token") == 45
    # Half of the stage is left and takes 10 s: everything is twice as slow as was quoted.
    assert quoted.left("token", 10.0, 0.5) == 10 + 2 * 45
    assert quoted.left("sheet", 3.0, 0.5) == 3


def test_steps_that_diverge_at_once_are_an_error_and_leave_the_base_as_it_was(job):
    planned = job()
    method = replace(planned.settings.method, lr=1e30)
    broken = replace(planned, settings=replace(planned.settings, method=method))
    with pytest.raises(DivergedError):
        quote(broken)
    finish(planned)
    assert record(planned.folder.path)["status"] == "finished"
    assert json.loads(planned.folder.record.read_text())["choice"]
