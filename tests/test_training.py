"""A training as a job on disk: what it leaves, what stops it, and that it always ends the same."""

import gc
import json
import math
import os
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import rarebooth
from faults import Died, faults, operations
from rarebooth import artifact, defaults, settings, store, training
from rarebooth import plan as plan_module
from rarebooth import record as record_module
from rarebooth.base import Batch, Session
from rarebooth.choose import Choice
from rarebooth.class_images import folder_digest
from rarebooth.errors import ArtifactError, BusyError, DivergedError, ResourceError, SettingsError
from rarebooth.folder import RunFolder, subject_file
from rarebooth.plan import plan
from rarebooth.run import Step
from rarebooth.steplog import StepLog
from toy_base import ToyBase, toy_subject
from training_jobs import PLACES, SMALL, files, finish, record, same_result, stop_after


def test_states_are_a_minute_apart_where_no_steps_between_them_were_asked_for(job, monkeypatch):
    now, saved = 0.0, []
    monkeypatch.setattr(training.time, "monotonic", lambda: now)
    save = store.save_state

    def noted(folder, state):
        saved.append((state.stage, state.done))
        save(folder, state)

    monkeypatch.setattr(store, "save_state", noted)

    def saved_by(planned):
        nonlocal now
        saved.clear()
        for _ in training.train(planned):
            now += 25
        return saved.copy()

    asked = job("asked", save_state_every=1)
    assert saved_by(asked) == [place for place in PLACES if place != ("denoiser", 5)]
    unasked = job("unasked", save_state_every=1)
    origin = {key: value for key, value in unasked.settings.origin.items() if "state" not in key}
    unasked = replace(unasked, settings=replace(unasked.settings, origin=origin))
    assert saved_by(unasked) == [("token", 4), ("denoiser", 3)]


def test_what_a_run_leaves(job, tmp_path):
    assert finish(job(previews="sheet")) == [*PLACES, ("contact sheet", 0)]
    folder = tmp_path / "run"
    found = files(folder)
    assert found.keys() == {
        ".lock",
        "run.json",
        "steps.jsonl",
        "photos.png",
        "first-picture.png",
        "contact-sheet.png",
        *(f"photos/1-{number:02d}.png" for number in range(1, len(toy_subject().photos) + 1)),
        "subject.safetensors",
        "checkpoints/stage-one/subject.safetensors",
        "checkpoints/2/subject.safetensors",
        "checkpoints/4/subject.safetensors",
        "checkpoints/5/subject.safetensors",
    }
    assert found["subject.safetensors"] == found["checkpoints/5/subject.safetensors"]
    lines = [json.loads(line) for line in found["steps.jsonl"].decode().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == PLACES
    assert all(isinstance(line["loss"], float) for line in lines)
    for name, content in found.items():
        assert str(tmp_path).encode() not in content, name
    said = record(folder)
    assert said["status"] == "finished"
    assert said["checkpoints"] == ["stage-one", "2", "4", "5"]
    assert said["settings"]["method_settings"]["steps"] == 5
    assert said["resumed_from"] == []
    assert said["recommended"] == "5"
    assert said["drawing"] == {"sampler": "ddim", "sampler_steps": 50, "guidance": 7.5}
    assert said["preview"] == {"sampler": "dpm++", "sampler_steps": 20, "guidance": 7.5}


@pytest.mark.usefixtures("not_installed")
def test_what_is_on_the_path_and_not_installed_trains_and_tells_its_version(job, tmp_path):
    finish(job())
    said = record(tmp_path / "run")["versions"]
    assert list(said) == ["python", "rarebooth", *record_module.VERSIONED]
    assert said["rarebooth"] == rarebooth.__version__


def test_a_record_says_nothing_of_previews_that_are_drawn_as_all_pictures(job, monkeypatch):
    preset = settings.preset_for(defaults.EMBEDDED)
    monkeypatch.setattr(plan_module, "preset_for", lambda _: preset)
    planned = job()
    finish(planned)
    said = record(planned.folder.path)
    assert said["drawing"] == {"sampler": "dpm++", "sampler_steps": 25, "guidance": 2.5}
    assert "preview" not in said


def test_drawn_pictures_say_how_they_were_made(job, toy, tmp_path):
    finish(job(previews="sheet"))
    folder = RunFolder(tmp_path / "run")

    def text(path):
        with Image.open(path) as picture:
            return {
                str(key).removeprefix("rarebooth:"): value for key, value in picture.info.items()
            }

    drawing = {"size": "8", "sampler": "dpm++", "steps": "20", "guidance": "7.5"}
    base = {"base": f"toy {toy.identity.digest[:16]}"}
    assert text(folder.first_picture) == {
        "prompt": "a photo of (rare) dog",
        "seed": "0",
        "subject": store.digest(folder.checkpoint("stage-one"))[:16],
        "checkpoint": "stage-one",
        **base,
        **drawing,
    }
    sheet = text(folder.sheet)
    assert sheet.items() >= {**base, **drawing}.items()
    assert sheet["checkpoints"] == "stage-one, 2, 4, 5"
    assert sheet["seeds"] == "0, 1, 2, 3, 4, 5"
    assert sheet["scenes"].count("{}") == 6
    assert sheet["subject"] == store.digest(folder.subject)[:16]


def test_time_is_booked_on_what_it_went_to(job, toy, tmp_path, monkeypatch):
    """Every kind of work moves the clock by another power of ten."""
    clock = [0.0]

    def takes(seconds, place, name, work=None):
        work = work or getattr(place, name)

        def timed(*args, **kwargs):
            clock[0] += seconds
            return work(*args, **kwargs)

        monkeypatch.setattr(place, name, timed)

    monkeypatch.setattr(record_module.time, "monotonic", lambda: clock[0])
    takes(0.1, store, "load_state")
    takes(1, toy, "denoise")
    takes(10, artifact, "save")
    takes(100, training, "_first_picture", lambda *_: None)
    takes(1000, store, "save_state")
    takes(10000, training, "draw_sheet", lambda *_: None)
    finish(job(previews="sheet"))
    assert record(tmp_path / "run")["seconds"] == {
        "preparation": 0.1,
        "token": 4.0,
        "denoiser": 5.0,
        "checkpoints": 40.0,
        "first picture": 100.0,
        "states": 3000.0,
        "contact sheet": 10000.0,
    }


def test_no_state_is_written_for_the_last_step_and_the_change_is_formed_once(
    job, tmp_path, monkeypatch
):
    saved, formed = [], []
    whole, change = store.save_state, Session.change

    def save_state(folder, state):
        saved.append((state.stage, state.done))
        whole(folder, state)

    def counted(session, names):
        formed.append(1)
        return change(session, names)

    monkeypatch.setattr(store, "save_state", save_state)
    monkeypatch.setattr(Session, "change", counted)
    finish(job(save_state_every=1))
    assert saved == PLACES[:-1]
    assert len(formed) == 3


def test_weights_and_moments_are_given_back_before_the_sheet_is_drawn(job, monkeypatch):
    optimisers = []
    whole = torch.optim.AdamW

    def watched(*args, **kwargs):
        made = whole(*args, **kwargs)
        optimisers.append(weakref.ref(made))
        return made

    def drawn(*_):
        gc.collect()
        assert len(optimisers) == 2
        assert all(reference() is None for reference in optimisers)
        optimisers.append("looked")

    monkeypatch.setattr(torch.optim, "AdamW", watched)
    monkeypatch.setattr(training, "draw_sheet", drawn)
    finish(job(previews="sheet"))
    assert optimisers[-1] == "looked"


@pytest.mark.parametrize("lost", [False, True])
def test_once_all_steps_are_taken_only_what_is_left_is_done_again(job, tmp_path, monkeypatch, lost):
    finish(job("straight", previews="sheet"))
    with monkeypatch.context() as patch:
        patch.setattr(training, "draw_sheet", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finish(job(previews="sheet"))
    folder = RunFolder(tmp_path / "run")
    assert not folder.state.exists()
    if lost:
        folder.subject.unlink()
    assert finish(job(previews="sheet")) == [("contact sheet", 0)]
    same_result(tmp_path / "straight", folder.path)
    assert record(folder.path)["status"] == "finished"


def test_a_checkpoint_that_cannot_be_drawn_is_left_out_of_the_sheet(job, tmp_path, monkeypatch):
    draw, calls, said = training._draw, [], []

    def drawn(*given):
        calls.append(given)
        if len(calls) in {1, 5}:  # the first picture; the base, after stage one, 2 steps, 4 steps
            raise DivergedError("a picture is not a number")
        return draw(*given)

    monkeypatch.setattr(training, "_draw", drawn)
    finish(job(previews="sheet"), notice=said.append)
    folder = RunFolder(tmp_path / "run")
    assert record(folder.path)["status"] == "finished"
    assert not folder.first_picture.exists()
    with Image.open(folder.sheet) as sheet:
        assert sheet.info["rarebooth:checkpoints"] == "stage-one, 2, 5"
    assert said == [
        "There is no first picture: a picture is not a number",
        "The contact sheet leaves out '4 steps': a picture is not a number",
    ]


@pytest.mark.parametrize(("asked", "then"), [("held-out", "last"), ("last", "held-out")])
def test_a_run_that_continues_chooses_as_is_asked_for_now(job, tmp_path, monkeypatch, asked, then):
    monkeypatch.setattr(training, "_choice", lambda *_: Choice("2", "held-out", "2 is best"))
    with monkeypatch.context() as patch:
        patch.setattr(training, "draw_sheet", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finish(job(previews="sheet", choose=asked))
    finish(job(previews="sheet", choose=then))
    folder = RunFolder(tmp_path / "run")
    said = record(folder.path)
    chosen = "5" if then == "last" else "2"
    assert (said["recommended"], said["choice"]["rule"]) == (chosen, then)
    assert folder.subject.read_bytes() == folder.checkpoint(chosen).read_bytes()


def test_a_run_does_not_go_on_in_another_precision(job, toy, tmp_path, monkeypatch):
    stop_after(job(), 3)
    assert record(tmp_path / "run")["precision"] == "fp32"
    monkeypatch.setattr(toy, "precision", "bf16")
    with pytest.raises(SettingsError, match="precision: fp32 -> bf16"):
        job()
    monkeypatch.undo()


def test_a_file_managers_file_among_class_photos_is_no_other_run(tmp_path):
    folder = tmp_path / "dogs"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "dog.png")
    before = folder_digest(folder)
    (folder / ".DS_Store").write_bytes(b"seen")
    (folder / "Thumbs.db").write_bytes(b"seen")
    assert folder_digest(folder) == before
    Image.new("RGB", (8, 8)).save(folder / "other.png")
    assert folder_digest(folder) != before


def test_a_finished_run_whose_subject_file_was_deleted_gets_it_back(job, tmp_path):
    finish(job())
    before = files(tmp_path / "run")
    (tmp_path / "run" / "subject.safetensors").unlink()
    assert finish(job()) == []
    assert files(tmp_path / "run").keys() == before.keys()
    same = "subject.safetensors"
    assert files(tmp_path / "run")[same] == before[same]


def test_a_method_whose_last_stage_takes_no_step_is_refused(job, monkeypatch):
    made = job()
    monkeypatch.setattr(type(made.settings.method), "fit", lambda *_: (step for step in ()))
    with pytest.raises(SettingsError, match="no step of its last stage, 'denoiser'"):
        finish(made)


def test_checkpoints_are_the_snapshots_of_their_steps(job, toy, tmp_path):
    finish(job())
    folder = RunFolder(tmp_path / "run")
    one = artifact.load(folder.checkpoint("stage-one"))
    assert one.delta.weights == {}
    vectors = []
    for name in folder.checkpoints():
        found = artifact.load(folder.checkpoint(name))
        assert found.header.checkpoint == name
        assert found.header.base == toy.identity
        assert found.header.nouns == ("dog",)
        assert found.header.settings["lr"] == 1e-3
        vectors.append(found.delta.tokens["(rare)"])
    assert all(torch.equal(vector, vectors[0]) for vector in vectors)
    short = job("short", steps=2, save_state_every=2)
    finish(short)
    early = artifact.load(folder.checkpoint("2")).delta.weights
    ends = artifact.load(short.folder.subject).delta.weights
    for name, change in early.items():
        assert torch.equal(change.expand(), ends[name].expand())


def test_what_a_killed_write_left_is_swept_away(job, tmp_path):
    finish(job("straight"))
    stop_after(job(), 6)
    folder = tmp_path / "run"
    for left in (".run.json.77.part", "checkpoints/2/.subject.safetensors.77-1234abcd.part"):
        (folder / left).parent.mkdir(exist_ok=True)
        (folder / left).write_bytes(b"half")
    (folder / "state" / ".part-denoiser-00000003-77").mkdir()
    rest = training.train(job())
    next(rest)
    assert {file.name for file in folder.rglob(".*")} == {".lock", ".owner"}
    for _ in rest:
        pass
    same_result(tmp_path / "straight", folder)


def test_the_last_step_is_always_a_checkpoint(job, tmp_path):
    finish(job(checkpoint_every=5, token_steps=0))
    assert RunFolder(tmp_path / "run").checkpoints() == ["5"]


def test_a_finished_run_is_left_alone(job, tmp_path):
    finish(job())
    before = files(tmp_path / "run")
    again = job()
    assert again.finished
    assert finish(again) == []
    assert files(tmp_path / "run") == before


@pytest.mark.parametrize("at", range(len(PLACES)))
def test_a_stopped_run_continues_to_the_same_end(job, tmp_path, at):
    finish(job("straight"))
    taken = []
    steps = training.train(job(), stop=lambda: len(taken) == at)
    for _ in range(at + 1):
        step = next(steps)
        taken.append((step.stage, step.done))
    with pytest.raises(training.Interrupted, match=f"step {PLACES[at][1]} of") as caught:
        next(steps)
    assert caught.value.exit_code == 130
    assert taken == PLACES[: at + 1]
    assert record(tmp_path / "run")["status"] == "interrupted"
    assert finish(job()) == PLACES[at + 1 :]
    same_result(tmp_path / "straight", tmp_path / "run")
    said = record(tmp_path / "run")
    assert said["status"] == "finished"
    from_state = [{"stage": PLACES[at][0], "step": PLACES[at][1]}]
    assert said["resumed_from"] == (from_state if at < len(PLACES) - 1 else [])


def test_the_same_plan_may_be_trained_from_again(job, tmp_path):
    """As in a notebook, where the plan is made in a cell above."""
    finish(job("straight"))
    made = job()
    with pytest.raises(training.Interrupted):
        finish(made, stop=lambda: True)
    assert finish(made) == PLACES[1:]
    same_result(tmp_path / "straight", tmp_path / "run")
    assert len(record(tmp_path / "run")["resumed_from"]) == 1
    assert finish(made) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_notebooks_stop_button_leaves_an_interrupted_run(job, tmp_path, error):
    def press():
        raise error

    with pytest.raises(error):
        finish(job(), stop=press)
    said = record(tmp_path / "run")
    assert said["status"] == "interrupted"
    assert "error" not in said
    assert finish(job()) == PLACES


def test_the_error_of_the_run_is_not_hidden_by_a_record_that_cannot_be_written(job, monkeypatch):
    whole = RunFolder.write

    def write(folder, content):
        if content["status"] == "failed":
            raise ResourceError("No space is left")
        whole(folder, content)

    monkeypatch.setattr(RunFolder, "write", write)
    with pytest.raises(ZeroDivisionError) as caught:
        finish(job(), stop=lambda: 1 / 0)
    assert caught.value.__notes__ == ["No space is left"]


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("cannot read '/srv/al ice/x.bin': no", "cannot read ...: no"),
        ("cannot read /srv/alice/x.bin.", "cannot read ...."),
        (r"cannot read C:\\Data\\alice\\x.bin, or D:/y", "cannot read ..., or ..."),
        (r"cannot read \\\\host\\share (see ~/log)", "cannot read ... (see ...)"),
        ("RUN/run.json and PHOTOS: 3/4 of and/or", ".../run.json and ...: 3/4 of and/or"),
        (
            "https://huggingface.co/a/b, 5 / 6. Lower it.",
            "https://huggingface.co/a/b, 5 / 6. Lower it.",
        ),
    ],
)
def test_the_record_of_a_failure_names_no_path(job, photos, tmp_path, message, kept):
    message = message.replace("RUN", str(tmp_path / "run")).replace("PHOTOS", str(photos))

    def fail():
        raise ValueError(message)

    with pytest.raises(ValueError, match=r"."):
        finish(job(), stop=fail)
    assert record(tmp_path / "run")["error"] == f"ValueError: {kept}"


def test_a_failure_in_the_working_directory_is_told_in_full(job, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    made = replace(job(), folder=RunFolder(Path()))
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ZeroDivisionError):
        finish(made, stop=lambda: 1 / 0)
    assert record(Path())["error"] == "ZeroDivisionError: division by zero"
    assert record(Path())["status"] == "failed"


@pytest.mark.parametrize("at", [0, 2, 4, 7])
def test_a_closed_run_continues_from_its_last_state(job, toy, tmp_path, at):
    finish(job("straight"))
    stop_after(job(), at + 1)
    assert record(tmp_path / "run")["status"] == "interrupted"
    for part in ("denoiser", "text"):
        for name, parameter in toy.part(part).named_parameters():
            assert torch.equal(parameter, toy.original(part)(name))
    saved = [("token", 3), ("token", 4), ("denoiser", 3)]
    last = max((PLACES.index(place) for place in saved if PLACES.index(place) <= at), default=-1)
    assert finish(job()) == PLACES[last + 1 :]
    same_result(tmp_path / "straight", tmp_path / "run")


def spoil(monkeypatch, base, call):
    """Makes the denoiser's ``call``-th answer not a number."""
    count = 0
    whole = base.denoise

    def denoise(*given):
        nonlocal count
        count += 1
        return whole(*given) * (torch.nan if count == call else 1.0)

    monkeypatch.setattr(base, "denoise", denoise)


@pytest.mark.parametrize("call", [2, 8])
def test_a_diverged_run_keeps_its_last_checkpoint_and_state(job, toy, tmp_path, monkeypatch, call):
    finish(job("straight"))
    stage, step = PLACES[call - 1]
    with monkeypatch.context() as patch:
        spoil(patch, toy, call)
        with pytest.raises(DivergedError, match=f"step {step} of stage {stage!r}") as caught:
            finish(job())
    assert caught.value.exit_code == 5
    folder = RunFolder(tmp_path / "run")
    said = record(folder.path)
    assert said["status"] == "failed"
    assert "nan" in said["error"]
    state, damaged = store.load_state(folder.state)
    assert damaged == []
    if stage == "token":
        assert folder.checkpoints() == []
        assert state is None
    else:
        assert folder.checkpoints() == ["stage-one", "2"]
        assert state is not None
        assert (state.stage, state.done) == ("denoiser", 3)
        assert all(torch.isfinite(tensor).all() for tensor in state.weights.values())
        straight = RunFolder(tmp_path / "straight")
        for name in folder.checkpoints():
            assert folder.checkpoint(name).read_bytes() == straight.checkpoint(name).read_bytes()
    finish(job())
    same_result(tmp_path / "straight", tmp_path / "run")
    assert "error" not in record(folder.path)


def test_a_folder_with_another_run_is_refused_and_the_difference_named(job, photos):
    finish(job())
    with pytest.raises(SettingsError, match=r"seed: 0 -> 1; lr: 0.001 -> 0.5\).*--out"):
        job(seed=1, lr=0.5)
    Image.new("RGB", (64, 64), "red").save(photos / "more.png")
    with pytest.raises(SettingsError, match="photos:"):
        job()


def test_another_base_under_the_same_name_is_refused(job, monkeypatch):
    finish(job())
    monkeypatch.setattr(plan_module, "open_base", lambda *_, **__: ToyBase(name="other"))
    with pytest.raises(SettingsError, match="base_digest:"):
        job()


def test_a_second_training_into_the_same_folder_is_refused(job):
    first, second = job(), job()
    steps = training.train(first)
    next(steps)
    with pytest.raises(BusyError, match="Another process is training"):
        finish(second)
    with pytest.raises(BusyError, match=f"process {os.getpid()}"):
        job()
    rest = [(step.stage, step.done) for step in steps]
    assert rest == PLACES[1:]


def test_a_base_that_is_open_serves_the_next_subject_too(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(plan_module, "open_base", lambda *_, **__: pytest.fail("opened again"))
    base = ToyBase()
    for name in ("one", "other"):
        made = plan(photos, SMALL, out=tmp_path / name, opened=base)
        assert made.base is base
        finish(made)
    same_result(tmp_path / "one", tmp_path / "other")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"base": "another"}, "base is toy, not another"),
        ({"precision": "bf16"}, "precision is fp32, not bf16"),
        ({"resolution": 16}, "resolution is 8, not 16"),
    ],
)
def test_an_open_base_that_was_not_asked_for_is_refused(photos, tmp_path, flags, message):
    with pytest.raises(SettingsError, match=message):
        plan(photos, {**SMALL, **flags}, out=tmp_path / "run", opened=ToyBase())


def test_planning_writes_nothing(job, photos, tmp_path):
    before = files(tmp_path)
    job()
    assert files(tmp_path) == before


def test_what_is_not_given_as_a_flag_may_stand_elsewhere(photos, toy, tmp_path):
    flags = {**SMALL, "base": None, "noun": None, "method": None}
    given = {"base": "toy", "noun": "cat", "method": "two-stage"}
    made = plan(photos, flags, out=tmp_path / "run", file=given)
    assert made.settings.train.noun == "cat"
    assert made.base_asked == "toy"
    origin = made.settings.origin
    assert [origin[key] for key in ("base", "noun", "method")] == ["file"] * 3


def test_a_damaged_state_is_named_and_the_one_before_is_used(job, tmp_path):
    finish(job("straight"))
    stop_after(job(), 5)
    path = tmp_path / "run" / "state" / "token-00000004" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 4
    path.write_bytes(content)
    assert finish(job()) == PLACES[3:]
    said = record(tmp_path / "run")
    assert said["damaged_states"] == ["token-00000004"]
    assert said["resumed_from"] == [{"stage": "token", "step": 3}]
    same_result(tmp_path / "straight", tmp_path / "run")


@pytest.fixture
def quick_disk(monkeypatch):
    monkeypatch.setattr(store.os, "fsync", lambda _: None)


@pytest.mark.slow
def test_a_death_at_any_write_is_continued_to_the_same_end(job, tmp_path, quick_disk):
    finish(job("straight"))
    count = operations(lambda: finish(job("counted")))
    assert count > 100
    continued = set()
    for at in range(1, count + 1, 2):
        with faults(at), pytest.raises(Died):
            finish(job(f"run-{at}"))
        rest = finish(job(f"run-{at}"))
        assert rest == PLACES[len(PLACES) - len(rest) :]
        continued.add(len(rest))
        same_result(tmp_path / "straight", tmp_path / f"run-{at}")
        shutil.rmtree(tmp_path / f"run-{at}")
    assert continued == {0, 2, 5, 6, 9}, "every state, and none, was continued from"


@pytest.mark.slow
def test_a_full_disk_at_any_write_ends_with_code_4_and_is_continued(job, tmp_path, quick_disk):
    finish(job("straight"))
    count = operations(lambda: finish(job("counted")))
    full = OSError(28, "No space left on device")
    refused = reached = 0
    for at in range(1, count + 1, 3):
        name = f"run-{at}"
        raised = None
        try:
            with faults(at, full):
                finish(job(name))
        except ResourceError as error:
            raised = error
        if raised is not None:
            refused += 1
            assert raised.exit_code == 4
            assert "No space is left" in str(raised)
            # Where it is the record's own last write that fails, "finished" may have got through.
            reached += (tmp_path / name / "run.json").is_file() and (
                record(tmp_path / name)["status"] == "failed"
            )
        finish(job(name))
        same_result(tmp_path / "straight", tmp_path / name)
        shutil.rmtree(tmp_path / name)
    assert refused > count / 6
    assert reached > 0.9 * refused - 5


def test_a_folder_that_may_not_be_entered_is_code_4(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ResourceError, match=r"Permission denied.*--out") as caught:
        RunFolder(tmp_path).read()
    assert caught.value.exit_code == 4


def test_the_log_is_written_in_blocks_and_holds_no_number_that_json_has_not(tmp_path):
    log = tmp_path / "steps.jsonl"
    nothing: Any = None

    def diverge():
        batch = Batch(*[torch.tensor([7, 9])] * 5)
        with StepLog(log) as steps:
            for done, loss in enumerate((0.5, math.nan, 0.25), 1):
                each = torch.tensor([loss, 0.5])
                steps.add(Step("token", done, 3, each[0], each, batch, *[nothing] * 2))
            assert not log.exists()
            raise DivergedError

    with pytest.raises(DivergedError):
        diverge()
    lines = log.read_text("utf-8").splitlines()
    found = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [line["loss"] for line in found] == [0.5, None, 0.25]
    assert [line["losses"] for line in found] == [[0.5, 0.5], [None, 0.5], [0.25, 0.5]]
    assert [line["timesteps"] for line in found] == [[7, 9]] * 3


def test_steps_after_the_state_are_cut_from_the_log(tmp_path):
    folder = RunFolder(tmp_path)
    stages = ("token", "denoiser")
    folder.cut_steps(stages, None, 0)
    assert not folder.steps.exists()
    lines = [json.dumps({"stage": stage, "step": done}) for stage, done in PLACES]
    whole = "".join(f"{line}\n" for line in lines)
    for stage, done, kept in (
        ("token", 2, 2),
        ("token", 4, 4),
        ("denoiser", 3, 7),
        ("denoiser", 5, 9),
        (None, 0, 0),
    ):
        folder.steps.write_text(whole, "utf-8")
        folder.cut_steps(stages, stage, done)
        assert folder.steps.read_text("utf-8").splitlines() == lines[:kept]


@pytest.mark.parametrize("torn", ['{"stage": "tok', "3", '{"step": 9}', '{"stage": "x"}', "\0\0"])
def test_a_torn_line_ends_the_log(tmp_path, torn):
    folder = RunFolder(tmp_path)
    line = json.dumps({"stage": "token", "step": 1})
    folder.steps.write_text(f"{line}\n{torn}", "utf-8")
    folder.cut_steps(("token",), "token", 4)
    assert folder.steps.read_text("utf-8") == f"{line}\n"


def test_the_log_is_cut_at_once_or_not_at_all(tmp_path):
    folder = RunFolder(tmp_path)
    lines = [json.dumps({"stage": "token", "step": done}) + "\n" for done in range(1, 5)]
    folder.steps.write_text("".join(lines), "utf-8")
    count = operations(lambda: folder.cut_steps(("token",), "token", 4))
    for at in range(1, count + 1):
        with faults(at), pytest.raises(Died):
            folder.cut_steps(("token",), "token", 2)
        assert folder.steps.read_text("utf-8") in {"".join(lines), "".join(lines[:2])}
        folder.steps.write_text("".join(lines), "utf-8")


def test_a_run_and_its_checkpoints_are_found_by_name(job, tmp_path):
    finish(job())
    folder = RunFolder(tmp_path / "run")
    assert subject_file(folder.path, None) == folder.subject
    assert subject_file(folder.path, "recommended") == folder.subject
    assert subject_file(folder.path, "4") == folder.checkpoint("4")
    assert subject_file(folder.subject, None) == folder.subject
    with pytest.raises(ArtifactError, match="has no 3 checkpoint; it has: stage-one, 2, 4, 5"):
        subject_file(folder.path, "3")
    with pytest.raises(ArtifactError, match="no run folder or subject file"):
        subject_file(tmp_path / "absent", None)
