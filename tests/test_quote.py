"""A quote: which parts it has, that it leaves no trace, and what it makes of a measured pace."""

import json
from dataclasses import replace

import pytest
import torch

from rarebooth import quote as quote_module
from rarebooth.base import Session
from rarebooth.class_images import CACHE
from rarebooth.errors import DivergedError
from rarebooth.quote import CLASS_IMAGES, FIRST_PICTURE, Quote, quote
from rarebooth.training import CHOICE, SHEET, class_cache
from training_jobs import finish, record


def test_a_quote_names_every_part_of_the_run_in_its_order(job):
    quoted = quote(job(previews="sheet", choose="held-out"))
    assert list(quoted.seconds) == ["token", FIRST_PICTURE, "denoiser", CHOICE, SHEET]
    assert all(seconds > 0 for seconds in quoted.seconds.values())
    assert quoted.total == pytest.approx(sum(quoted.seconds.values()))
    assert list(quote(job(previews="none", choose="last")).seconds) == ["token", "denoiser"]


def test_disk_and_memory_are_those_of_the_plan_and_of_this_process(job):
    planned = job()
    quoted = quote(planned)
    assert quoted.disk == planned.disk_needed
    assert quoted.memory is not None
    assert quoted.memory > 100e6  # torch alone takes as much


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


def test_class_images_that_are_kept_already_cost_less(job, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(quote_module, "_drawing", lambda _: (10.0, 1.0))
    planned = job(prior="true", class_images=4, previews="none", choose="last")
    forwards = planned.settings.preset.draw.forwards
    assert quote(planned).seconds[CLASS_IMAGES] == 4 * forwards * 10 + 4
    with Session(planned.base) as session:
        (prompt,) = planned.settings.method.class_prompts(["dog"])
        class_cache(planned)(session, prompt, 3)
    assert quote(planned).seconds[CLASS_IMAGES] == 1 * forwards * 10 + 4


def test_steps_and_pictures_are_multiplied_by_what_one_takes(job, monkeypatch):
    planned = job(previews="sheet", choose="held-out")
    monkeypatch.setattr(quote_module, "_pace", lambda _: {"token": 2.0, "denoiser": 3.0})
    monkeypatch.setattr(quote_module, "_drawing", lambda _: (0.5, 0.0))
    each = planned.settings.preset.preview.forwards * 0.5
    lengths = planned.lengths
    whole = [name for name in planned.checkpoints if name != "stage-one"]
    assert quote(planned).seconds == {
        "token": 2.0 * lengths["token"],
        FIRST_PICTURE: each,
        "denoiser": 3.0 * lengths["denoiser"],
        CHOICE: len(whole) * 16 * each,
        SHEET: (len(whole) + 2) * 6 * each,
    }


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
