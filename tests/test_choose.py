"""The choice of a checkpoint, and probes on fixed noise."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from judging import JUDGES
from rarebooth import evaluation, training
from rarebooth.base import Session
from rarebooth.choose import Quality, held_out, quality, why
from rarebooth.errors import SettingsError
from rarebooth.metric import PictureSet
from rarebooth.plan import draft
from rarebooth.probe import PAIRS, Probe, stalled
from rarebooth.probing import ProbeWatch
from rarebooth.settings import DrawSettings
from training_jobs import record, same_result, stop_after


def gray(level, prompts=2, count=3):
    images = np.full((prompts, count, 4, 4, 3), level, np.uint8)
    return PictureSet(("a photo of {} here", "a photo of {} there")[:prompts], images)


def test_quality_by_hand():
    found = quality(gray(255), np.zeros((2, 4, 4, 3), np.uint8), "dog", JUDGES)
    assert found == Quality(likeness=0.0, following=1.0)
    assert found.harmonic == 0.0
    assert Quality(0.6, 0.3).harmonic == pytest.approx(0.4)
    assert Quality(-0.1, 0.3).harmonic == 0.0


def test_the_best_harmonic_mean_is_held_out_and_of_equals_the_earlier():
    qualities = {"200": Quality(0.6, 0.3), "400": Quality(0.7, 0.3), "600": Quality(0.7, 0.3)}
    assert held_out(qualities) == "400"
    said = why(qualities, "400")
    assert "400" in said
    assert "0.420" in said
    assert "no other" in why({"200": Quality(0.5, 0.5)}, "200")


def test_training_recommends_what_the_judges_like_best(job, tmp_path, monkeypatch):
    """The drawn pictures of each checkpoint are replaced by grays; the photos are black."""
    levels = iter([255, 90, 200])
    drawn = []

    def draw(session, path, protocol, named, settings, digest):
        assert session.tokens  # the checkpoint is worn
        assert not set(protocol.templates) & {"a photo of {}"}
        assert settings == DrawSettings(sampler="dpm++", sampler_steps=20)
        drawn.append(named)
        images = np.full((len(protocol.templates), protocol.count, 4, 4, 3), next(levels), np.uint8)
        return PictureSet(protocol.templates, images)

    monkeypatch.setattr(training, "draw_or_read", draw)
    monkeypatch.setattr(training, "open_judges", lambda *_: JUDGES)
    monkeypatch.setattr(
        training, "quality", lambda p, *_: Quality(float(p.images.mean()) / 255, 0.3)
    )
    steps = [step.stage for step in training.train(job(choose="held-out"))]
    assert steps[-1] == training.CHOICE
    said = record(tmp_path / "run")
    assert said["recommended"] == "2"
    assert said["choice"]["rule"] == "held-out"
    assert said["choice"]["qualities"].keys() == {"2", "4", "5"}
    assert drawn == ["(rare) dog"] * 3
    found = (tmp_path / "run" / "subject.safetensors").read_bytes()
    assert found == (tmp_path / "run" / "checkpoints" / "2" / "subject.safetensors").read_bytes()


def test_a_run_whose_choice_was_interrupted_chooses_when_it_continues(job, tmp_path, monkeypatch):
    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "open_judges", broken)
    with pytest.raises(KeyboardInterrupt):
        list(training.train(job(choose="held-out")))
    assert record(tmp_path / "run")["choice"] is None
    monkeypatch.setattr(training, "open_judges", lambda *_: JUDGES)
    monkeypatch.setattr(training, "quality", lambda *_: Quality(0.5, 0.5))
    assert [step.stage for step in training.train(job(choose="held-out"))] == [training.CHOICE]
    assert record(tmp_path / "run")["recommended"] == "2"


def test_a_choice_that_is_stopped_keeps_what_it_drew(job, tmp_path, monkeypatch):
    drawn, real = [], evaluation.draw_set

    def counted(*given):
        drawn.append(given[2])
        return real(*given)

    monkeypatch.setattr(evaluation, "draw_set", counted)
    monkeypatch.setattr(training, "open_judges", lambda *_: JUDGES)
    with pytest.raises(training.Interrupted, match="what is drawn is kept"):
        list(training.train(job(choose="held-out"), stop=lambda: len(drawn) == 1))
    list(training.train(job(choose="held-out")))
    assert len(drawn) == 3
    assert record(tmp_path / "run")["choice"]["qualities"].keys() == {"2", "4", "5"}


def test_checkpoints_that_were_lost_are_chosen_from_anew(job, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "open_judges", lambda *_: JUDGES)
    qualities = iter([0.9, 0.1, 0.1, 0.1, 0.1, 0.9])
    monkeypatch.setattr(training, "quality", lambda *_: Quality(next(qualities), 0.5))
    list(training.train(job(choose="held-out")))
    assert record(tmp_path / "run")["recommended"] == "2"
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "2")
    (tmp_path / "run" / "subject.safetensors").unlink()
    list(training.train(job(choose="held-out")))
    said = record(tmp_path / "run")
    assert said["recommended"] == "5"
    assert said["choice"]["why"].startswith("5 is recommended")


def test_a_finished_run_does_not_choose_again(job):
    list(training.train(job()))
    with pytest.raises(SettingsError, match="choose: last -> held-out"):
        job(choose="held-out")


def test_what_is_steered_cannot_be_probed(photos, tmp_path):
    flags = {"noun": "dog", "base": "toy", "method": "hiper", "probe_every": 2}
    with pytest.raises(SettingsError, match="hiper"):
        draft(photos, flags, out=tmp_path / "run")


def test_without_judges_the_last_is_recommended_and_said(job, tmp_path, monkeypatch):
    def absent(*_):
        raise SettingsError("they are not here")

    told = []
    monkeypatch.setattr(training, "open_judges", absent)
    list(training.train(job(choose="held-out"), notice=told.append))
    assert "they are not here" in told[0]
    said = record(tmp_path / "run")
    assert said["recommended"] == "5"
    assert said["choice"]["rule"] == "last"


def test_a_probe_is_a_function_of_the_weights_alone(toy):
    photos = np.random.default_rng(0).integers(0, 255, (1, toy.size, toy.size, 3), np.uint8)
    probe = Probe.of(toy, photos)
    assert len(probe.batch.timestep) == PAIRS
    assert probe.batch.timestep.min() >= 0
    assert probe.batch.timestep.max() < toy.process.timesteps
    assert probe.batch.timestep.unique().numel() == PAIRS
    with Session(toy) as session:
        torch.manual_seed(1)
        first = probe.loss(session, "a dog")
        torch.manual_seed(2)
        assert probe.loss(session, "a dog") == first
        next(iter(toy.part("denoiser").parameters())).data.add_(1.0)
        assert probe.loss(session, "a dog") != first
        next(iter(toy.part("denoiser").parameters())).data.sub_(1.0)


def test_stalled_by_hand():
    assert not stalled([3.0, 2.0], 2)
    assert stalled([2.0, 2.0, 3.0], 2)
    assert not stalled([2.0, 3.0, 1.0], 2)


def probes(folder):
    lines = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    return {line["step"]: line["probe"] for line in lines if "probe" in line}


def test_a_probe_stops_a_run_that_gets_no_better_and_a_resume_stops_at_the_same_step(job, tmp_path):
    flags = {"probe_every": 1, "patience": 2, "steps": 12, "lr": 0.5}
    list(training.train(job("whole", **flags)))
    said = record(tmp_path / "whole")
    last = said["stopped_early"]["step"]
    assert last < 12
    found = probes(tmp_path / "whole")
    assert list(found) == list(range(1, last + 1))
    assert said["stopped_early"]["best_probe"] == last - 2 == min(found, key=found.__getitem__)
    assert said["recommended"] == str(last)

    assert stop_after(job("halves", **flags), 5).stage == "denoiser"
    list(training.train(job("halves", **flags)))
    same_result(tmp_path / "whole", tmp_path / "halves")


def test_with_five_photos_the_probe_keeps_one_from_training(job, photos, toy):
    def looked_at(probed):
        return ProbeWatch.of(probed).probe.photos.mean

    count = len(list(photos.iterdir()))
    for number in range(count, 5):
        Image.new("RGB", (64, 64), (40 * number, 9, 9)).save(photos / f"more {number}.png")
    probed = job("a", probe_every=2)
    assert [len(each.photos) for each in probed.taught] == [4]
    assert looked_at(probed).equal(toy.posterior(probed.subjects[0].images[-1:]).mean)
    assert [len(each.photos) for each in job("b").taught] == [5]
    (photos / "more 4.png").unlink()
    few = job("c", probe_every=2)
    assert [len(each.photos) for each in few.taught] == [4]
    assert looked_at(few).equal(toy.posterior(few.subjects[0].images).mean)


def test_patience_needs_probes(job):
    with pytest.raises(SettingsError, match="probe_every"):
        job(patience=2)
