"""A training as a job on disk: what it leaves, what stops it, and that it always ends the same."""

import json
import multiprocessing
import random
import shutil
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from faults import Died, faults, operations
from rarebooth import artifact, store, training
from rarebooth import plan as plan_module
from rarebooth.errors import ArtifactError, DivergedError, ResourceError, SettingsError
from rarebooth.folder import RunFolder, subject_file
from rarebooth.plan import Plan, plan
from tiny import build_folder
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


def finish(job, **options):
    return [(step.stage, step.done) for step in training.train(job, **options)]


def files(folder):
    """Every file below a folder by name, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def same_result(one, other):
    """All that a run leaves is the same, but for ``run.json``, which tells how it went."""
    left, right = files(one), files(other)
    for found in (left, right):
        del found["run.json"]
    assert left.keys() == right.keys()
    for name in left:
        assert left[name] == right[name], name


def record(folder):
    return json.loads((folder / "run.json").read_text("utf-8"))


def test_what_a_run_leaves(job, tmp_path):
    assert finish(job(previews="sheet")) == PLACES
    folder = tmp_path / "run"
    found = files(folder)
    assert found.keys() == {
        ".lock",
        "run.json",
        "steps.jsonl",
        "photos.png",
        "first-picture.png",
        "contact-sheet.png",
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
    assert said["seconds"].keys() >= {"token", "denoiser"}
    assert said["resumed_from"] == []


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
        assert torch.equal(change.values, ends[name].values)


def test_what_a_killed_write_left_is_swept_away(job, tmp_path):
    finish(job("straight"))
    steps = training.train(job())
    for _ in range(6):
        next(steps)
    steps.close()
    folder = tmp_path / "run"
    for left in (".run.json.77.part", "checkpoints/2/.subject.safetensors.77.part"):
        (folder / left).parent.mkdir(exist_ok=True)
        (folder / left).write_bytes(b"half")
    (folder / "state" / ".part-denoiser-00000003-77").mkdir()
    finish(job())
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
    assert said["resumed_from"] == [{"stage": PLACES[at][0], "step": PLACES[at][1]}]


@pytest.mark.parametrize("at", [0, 2, 4, 7])
def test_a_closed_run_continues_from_its_last_state(job, toy, tmp_path, at):
    finish(job("straight"))
    steps = training.train(job())
    for _ in range(at + 1):
        next(steps)
    steps.close()
    assert record(tmp_path / "run")["status"] == "interrupted"
    for part in ("denoiser", "text"):
        for name, parameter in toy.part(part).named_parameters():
            assert torch.equal(parameter, toy.original(part)(name))
    saved = [("token", 3), ("token", 4), ("denoiser", 3), ("denoiser", 5)]
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
    with pytest.raises(SettingsError, match="Another process is training"):
        finish(second)
    rest = [(step.stage, step.done) for step in steps]
    assert rest == PLACES[1:]


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


def test_a_damaged_state_is_named_and_never_used(job, tmp_path):
    finish(job("straight"))
    steps = training.train(job())
    while (step := next(steps)).stage == "token":
        pass
    steps.close()
    assert step.done == 1
    path = tmp_path / "run" / "state" / "token-00000004" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 4
    path.write_bytes(content)
    assert finish(job()) == PLACES
    said = record(tmp_path / "run")
    assert said["damaged_states"] == ["token-00000004"]
    assert said["resumed_from"] == []
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


def command(photos: str, base: str, out: str) -> None:
    """What one process does: the same each time it is started."""
    torch.set_num_threads(1)
    flags = {**SMALL, "base": base, "token_steps": 8, "steps": 24, "save_state_every": 4}
    made = plan(Path(photos), {**flags, "checkpoint_every": 8}, out=Path(out))
    for _ in training.train(made):
        pass


@pytest.mark.slow
def test_a_killed_process_is_continued_to_the_same_bytes(photos, tmp_path):
    """SIGKILL at random moments of a real process that trains a tiny Stable Diffusion."""
    base = build_folder(tmp_path / "tiny")
    # The fork server pays for importing torch and diffusers once; each child is still a process.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rarebooth.training", "rarebooth.bases.sd"])

    def start(out):
        arguments = (str(photos), str(base), str(tmp_path / out))
        process = context.Process(target=command, args=arguments)
        process.start()
        return process

    def steps_taken():
        log = tmp_path / "run" / "steps.jsonl"
        return len(log.read_text("utf-8").splitlines()) if log.is_file() else 0

    straight = start("straight")
    straight.join(120)
    assert straight.exitcode == 0
    moments = random.Random(5)
    kills = []
    for target in (2, 9, 21, 27):
        process = start("run")
        give_up = time.monotonic() + 60
        while process.is_alive() and steps_taken() < target and time.monotonic() < give_up:
            time.sleep(0.005)
        time.sleep(moments.random() * 0.15)
        process.kill()
        process.join(30)
        kills.append(process.exitcode)
    assert kills.count(-9) >= 3
    last = start("run")
    last.join(120)
    assert last.exitcode == 0
    same_result(tmp_path / "straight", tmp_path / "run")
    said = record(tmp_path / "run")
    assert said["status"] == "finished"
    assert len(said["resumed_from"]) >= 2
