"""Prior preservation as a person meets it: on the command line, in a run folder, in a cache."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rarebooth.cli import run
from tiny import build_folder

STEPS = ["--steps", "2", "--checkpoint_every", "2", "--save_state_every", "1", "--previews", "none"]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return build_folder(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder to work in, with photos in it and a cache; class images take two sampler steps."""
    from rarebooth import plan

    preset_for = plan.preset_for

    def quick(name):
        preset = preset_for(name)
        draw, preview = (replace(each, sampler_steps=2) for each in (preset.draw, preset.preview))
        return replace(preset, draw=draw, preview=preview)

    monkeypatch.setattr(plan, "preset_for", quick)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAREBOOTH_CACHE", str(tmp_path / "cache"))
    dice = np.random.default_rng(0)
    for folder in ("dog", "cat", "dogs"):
        (tmp_path / folder).mkdir()
        for number in range(3):
            pixels = dice.integers(0, 255, (64, 72, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    return tmp_path


def dreambooth(base, *more):
    words = ["train", "dog", "--noun", "dog", "--base", str(base), "--method", "dreambooth"]
    return run([*words, "--out", "run", *STEPS, *more])


def kept(place):
    return sorted(path.name for path in (place / "cache").rglob("*.png"))


def test_class_images_are_kept_for_the_next_run(base, place, capsys):
    flags = ["--with_prior_preservation", "--num_class_images", "3", "--class_prompt", "a dog"]
    assert dreambooth(base, *flags) == 0
    assert "class images 3/3" in capsys.readouterr().out
    assert kept(place) == ["00000.png", "00001.png", "00002.png"]
    about = json.loads((place / "run" / "run.json").read_text("utf-8"))
    assert about["settings"]["method_settings"]["class_prompt"] == "a {}"
    assert about["class_photos"] is None
    before = [path.stat().st_mtime_ns for path in (place / "cache").rglob("*.png")]
    assert dreambooth(base, *flags, "--out", "again") == 0
    assert [path.stat().st_mtime_ns for path in (place / "cache").rglob("*.png")] == before
    one, other = (place / name / "subject.safetensors" for name in ("run", "again"))
    assert one.read_bytes() == other.read_bytes()


def test_without_prior_none_are_drawn(base, place):
    assert dreambooth(base, "--prior", "false") == 0
    assert kept(place) == []


def test_a_stop_while_they_are_drawn_is_continued(base, place):
    from rarebooth import api

    flags = {
        "noun": "dog",
        "base": str(base),
        "method": "dreambooth",
        "class_images": 20,
        "steps": 2,
        "checkpoint_every": 2,
        "previews": "none",
    }
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 1

    with pytest.raises(api.Interrupted, match="class images"):
        list(api.train(api.plan(Path("dog"), flags, out=Path("run")), stop=stop))
    assert 0 < len(kept(place)) < 20
    list(api.train(api.plan(Path("dog"), flags, out=Path("run"))))
    assert len(kept(place)) == 20
    list(api.train(api.plan(Path("dog"), flags, out=Path("straight"))))
    one, other = (place / name / "subject.safetensors" for name in ("run", "straight"))
    assert one.read_bytes() == other.read_bytes()


def test_real_class_photos_take_their_place_and_are_part_of_the_run(base, place, capsys):
    flags = ["--class_data_dir", "dogs", "--num_class_images", "3"]
    assert dreambooth(base, *flags) == 0
    assert kept(place) == []
    content = (place / "run" / "run.json").read_text("utf-8")
    assert len(json.loads(content)["class_photos"]) == 64
    assert str(place) not in content
    (place / "dogs" / "2.png").unlink()
    capsys.readouterr()
    assert dreambooth(base, *flags) == 2
    assert "class_photos" in capsys.readouterr().err


def test_two_subjects_are_learnt_in_one_model_and_called_by_number(base, place, capsys):
    words = ["train", "dog", "cat", "--noun", "dog, cat", "--base", str(base)]
    method = ["--method", "custom-diffusion", "--class_images", "2", "--variants", "2"]
    assert run([*words, *method, "--initial_word", "sks", "--out", "both", *STEPS]) == 0
    assert 'dog, called "<new1> dog", cat, called "<new2> cat"' in capsys.readouterr().out
    drawing = ["--base", str(base), "--steps", "2", "--out", "drawn"]
    assert run(["generate", "both", "a {1} and a {2}", *drawing]) == 0
    (picture,) = (place / "drawn").glob("*.png")
    assert Image.open(picture).info["rarebooth:prompt"] == "a <new1> dog and a <new2> cat"
