"""Merging as a job on disk and as a verb: files in, one file out, and pictures of several."""

from dataclasses import replace

import pytest
from PIL import Image

from rarebooth import artifact, merge_job, merging
from rarebooth.artifact import Header
from rarebooth.bases import open_base
from rarebooth.cli import run
from rarebooth.errors import ArtifactError, SettingsError
from test_merging import learnt
from tiny import build_folder

DEVICE = ["--device", "cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_folder(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="module")
def base(folder):
    return open_base(str(folder), device="cpu")


@pytest.fixture
def subject(base, tmp_path):
    """Writes a subject's file, or a run folder that holds it."""

    def write(name, seed, noun, *, run_folder=False, **changed):
        place = tmp_path / name
        path = place / "subject.safetensors" if run_folder else place
        header = Header(
            base.identity, "custom-diffusion", {}, seed, (noun,), "photo of a {}", base.size, "300"
        )
        artifact.save(path, learnt(base, seed, noun=noun), replace(header, **changed))
        return place

    return write


@pytest.fixture
def never_opened(monkeypatch):
    monkeypatch.setattr(merge_job, "open_base", lambda *_, **__: pytest.fail("was opened"))


def test_a_merged_file_holds_all_subjects_and_says_what_it_was_made_of(
    base, folder, subject, tmp_path
):
    files = [subject("a", 1, "dog"), subject("b", 2, "cat", run_folder=True, size=64)]
    out = tmp_path / "both.safetensors"
    phrases = merge_job.merge(files, out, base=str(folder), device="cpu")
    assert phrases == ("<new1> dog", "<new2> cat")
    found = artifact.load(out)
    sources = [artifact.load(files[0]), artifact.load(files[1] / "subject.safetensors")]
    assert found.header == Header(
        base.identity,
        "custom-diffusion",
        {"merged": [each.digest for each in sources]},
        1,
        ("dog", "cat"),
        "photo of a {}",
        64,
        "merged",
    )
    expected = merging.merge(base, [each.delta for each in sources], merging.captions())
    assert found.delta.phrases == expected.phrases == phrases
    assert found.delta.tokens.keys() == {"<new1>", "<new2>"}
    for name, change in expected.weights.items():
        assert found.delta.weights[name].expand().equal(change.expand())


def test_the_verb_says_how_to_call_the_subjects_and_generate_draws_them(
    folder, subject, tmp_path, capsys
):
    files = [str(subject("a", 1, "dog")), str(subject("b", 2, "cat"))]
    out, pictures = tmp_path / "both.safetensors", tmp_path / "pictures"
    assert run(["merge", *files, "--out", str(out), "--base", str(folder), *DEVICE]) == 0
    shown = capsys.readouterr().out
    assert "{1} stands for <new1> dog" in shown
    assert "{2} stands for <new2> cat" in shown
    assert f'rarebooth generate {out} "a photo of {{1}} and {{2}}"' in shown
    drawing = ["--out", str(pictures), "--base", str(folder), "--steps", "2", *DEVICE]
    asked = ["{1} and {2}", "a {} and a {1}", "a red {2}", "a dog on the beach"]
    assert run(["generate", str(out), *asked, *drawing]) == 0
    told = set()
    for path in pictures.iterdir():
        with Image.open(path) as picture:
            told.add(picture.info["rarebooth:prompt"])
    assert told == {
        "<new1> dog and <new2> cat",
        "a <new1> dog and a <new1> dog",
        "a red <new2> cat",
        "a dog on the beach",
    }
    (remark,) = [line for line in capsys.readouterr().err.splitlines() if "does not name" in line]
    assert "write {1} for '<new1> dog', {2} for '<new2> cat'" in remark
    assert run(["generate", str(out), "{1} and {3}", *drawing]) == 2
    assert "says {3}" in capsys.readouterr().err


def test_what_cannot_be_merged_is_refused_before_the_base_is_opened(
    base, subject, tmp_path, never_opened
):
    good, out = subject("a", 1, "dog"), tmp_path / "out.safetensors"
    other = replace(base.identity, name="another", digest="c" * 64)
    for files, error, match in (
        ([good], SettingsError, "two subjects or more"),
        ([good, subject("t", 2, "cat", method="two-stage")], SettingsError, "learnt by two-stage"),
        ([good, subject("o", 2, "cat", base=other)], ArtifactError, r"'another' \(cccccccccccc\)"),
        ([good, tmp_path / "nothing"], ArtifactError, "no run folder or subject file"),
    ):
        with pytest.raises(error, match=match):
            merge_job.merge(files, out)
    assert not out.exists()


def test_a_file_that_exists_is_not_replaced(subject, never_opened):
    files = [subject("a", 1, "dog"), subject("b", 2, "cat")]
    before = files[1].read_bytes()
    with pytest.raises(SettingsError, match="exists"):
        merge_job.merge(files, files[1])
    assert files[1].read_bytes() == before


def test_another_base_than_the_subjects_is_refused(subject, tmp_path, tmp_path_factory):
    elsewhere = build_folder(tmp_path_factory.mktemp("bases") / "tiny", seed=1)
    files = [subject("a", 1, "dog"), subject("b", 2, "cat")]
    with pytest.raises(ArtifactError, match="has other weights"):
        merge_job.merge(files, tmp_path / "out", base=str(elsewhere), device="cpu")
    assert not (tmp_path / "out").exists()


def test_a_base_that_was_a_folder_is_asked_for(subject, tmp_path, capsys):
    files = [str(subject("a", 1, "dog")), str(subject("b", 2, "cat"))]
    assert run(["merge", *files, "--out", str(tmp_path / "out"), *DEVICE]) == 2
    assert "give that folder with --base" in capsys.readouterr().err
