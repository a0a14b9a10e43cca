"""Drawing as a job: files that say how they were made, and never take each other's place."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from rarebooth import artifact, drawing, sample
from rarebooth.artifact import Header
from rarebooth.delta import Change, Delta
from rarebooth.errors import DivergedError, ResourceError, SettingsError
from rarebooth.pictures import picture_name
from toy_base import WIDTH, ToyBase

QUICK = {"sampler_steps": 2}


@pytest.fixture
def base(monkeypatch):
    made = ToyBase()
    monkeypatch.setattr(drawing, "open_base", lambda *_, **__: made)
    return made


@pytest.fixture
def subject(base, tmp_path):
    """Writes the subject file of a checkpoint; another checkpoint has learnt something else."""

    def write(checkpoint="400"):
        generator = torch.Generator().manual_seed(len(checkpoint))
        word = torch.randn(1, WIDTH, generator=generator)
        bias = Change.between(torch.randn(6, generator=generator), torch.zeros(6))
        delta = Delta(("(rare) dog",), {"(rare)": word}, {"denoiser.look.bias": bias})
        header = Header(
            base.identity, "two-stage", {}, 0, ("dog",), "a photo of {}", base.size, checkpoint
        )
        path = tmp_path / f"{len(checkpoint)}.safetensors"
        artifact.save(path, delta, header)
        return path

    return write


def test_no_two_pictures_that_differ_share_a_file(subject, tmp_path):
    out = tmp_path / "pictures"
    long = "a photo of {} " + "on the beach " * 9
    ways: list[tuple[Path, dict[str, Any], dict[str, Any]]] = [
        (subject(), {}, {}),
        (subject("stage-one"), {}, {}),
        (subject(), {"seed": 5}, {}),
        (subject(), {}, {"guidance": 2.0}),
        (subject(), {}, {"sampler_steps": 3}),
        (subject(), {}, {"sampler": "dpm++"}),
    ]
    prompts = [long + "at night", long + "at noon", "собака {}", "{} 犬", "🐕 {}", "{}"]
    contents = {}
    for file, options, settings in ways:
        paths = drawing.generate(
            file, prompts, out, count=2, drawing={**QUICK, **settings}, **options
        )
        assert len(paths) == 2 * len(prompts)
        assert not contents.keys() & set(paths)
        contents |= {path: path.read_bytes() for path in paths}
    assert set(out.iterdir()) == contents.keys()
    assert all(path.read_bytes() == content for path, content in contents.items())
    assert all(len(path.name.encode()) < 200 for path in contents)


def test_the_same_call_gives_the_same_files(subject, tmp_path):
    calls = [
        drawing.generate(subject(), ["{} in the snow"], tmp_path / "out", drawing=QUICK)
        for _ in range(2)
    ]
    assert calls[0] == calls[1] == list((tmp_path / "out").iterdir())


def test_a_picture_says_all_that_determines_it(base, subject, tmp_path):
    file = subject("stage-one")
    more: dict[str, Any] = {"sampler": "dpm++", "sampler_steps": 4, "guidance": 3}
    (path,) = drawing.generate(file, ["{} 雪"], tmp_path, seed=9, drawing=more)
    with Image.open(path) as picture:
        text = {str(key).removeprefix("rarebooth:"): value for key, value in picture.info.items()}
    learnt = artifact.load(file)
    assert text == {
        "prompt": "(rare) dog 雪",
        "seed": "9",
        "subject": learnt.digest[:16],
        "checkpoint": "stage-one",
        "base": f"toy {base.identity.digest[:16]}",
        "size": "8",
        "sampler": "dpm++",
        "steps": "4",
        "guidance": "3.0",
    }
    assert path.name == picture_name(text)
    assert path.name.startswith("rare-dog-雪-stage-one-9-")


@pytest.mark.parametrize("checkpoint", ["../../out", "a/b", "C:\\x", ".."])
def test_a_file_from_elsewhere_cannot_choose_where_pictures_go(subject, tmp_path, checkpoint):
    out = tmp_path / "pictures"
    (path,) = drawing.generate(subject(checkpoint), ["../{}/.."], out, drawing=QUICK)
    assert path.resolve().parent == out.resolve()
    assert list(out.iterdir()) == [path]


def test_what_was_drawn_before_a_failure_is_kept(base, subject, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "SMALL_BATCH", 2)
    whole, calls = base.denoise, []

    def failing(*given):
        calls.append(1)
        return whole(*given) * (torch.nan if len(calls) > 4 else 1)

    monkeypatch.setattr(base, "denoise", failing)
    with pytest.raises(DivergedError):
        drawing.generate(subject(), ["{}"], tmp_path / "out", count=5, drawing=QUICK)
    assert len(list((tmp_path / "out").iterdir())) == 4
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as picture:
            picture.load()


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_drawn(
    base, subject, tmp_path, monkeypatch
):
    file = subject()
    (tmp_path / "taken").write_bytes(b"")
    monkeypatch.setattr(base, "denoise", lambda *_: pytest.fail("was drawn"))
    with pytest.raises(ResourceError, match=r"cannot be written into .*taken"):
        drawing.generate(file, ["{}"], tmp_path / "taken", drawing=QUICK)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"drawing": {"sampler": "euler"}}, "sampler is 'euler'"),
        ({"drawing": {"sampler_steps": 0}}, "steps is 0"),
        ({"drawing": {"sampler_steps": "many"}}, "sampler_steps is 'many'"),
        ({"drawing": {"guidance": float("nan")}}, "guidance is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 10**20}, "seed is 1000"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_the_base_is_opened(
    subject, tmp_path, monkeypatch, options, match
):
    file = subject()
    monkeypatch.setattr(drawing, "open_base", lambda *_, **__: pytest.fail("was opened"))
    with pytest.raises(SettingsError, match=match):
        drawing.generate(file, ["{}"], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
