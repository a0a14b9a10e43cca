"""The functions that other programs call, by the paths that they give."""

import inspect
from dataclasses import dataclass
from pathlib import Path

import pytest

from judging import JUDGES
from rarebooth import api, artifact, drawing, evaluation, merge_job, reporting
from rarebooth.delta import Delta
from rarebooth.folder import RunFolder
from toy_base import ToyBase
from training_jobs import SMALL, finish


@dataclass
class Named:
    """A path that is neither a Path nor a str, as other libraries have them."""

    name: Path

    def __fspath__(self):
        return str(self.name)


@pytest.fixture
def run(job):
    made = job()
    finish(made)
    return made.folder.path


@pytest.fixture
def mergeable(tmp_path):
    """Two subject files of Custom Diffusion."""

    def write(noun):
        settings = ("custom-diffusion", {}, 1, (noun,), "a photo of {}", 8, "5")
        header = artifact.Header(ToyBase().identity, *settings)
        artifact.save(tmp_path / noun, Delta((noun,), {}, {}), header)
        return tmp_path / noun

    return [write("dog"), write("cat")]


def draft(kind, photos, place, **_):
    prior = {**SMALL, "method": "dreambooth", "prior": True}
    for name in ("token_steps", "token_lr"):
        del prior[name]
    made = api.draft(kind(photos), prior, out=kind(place), class_photos=kind(photos))
    assert (made.photos_at, made.class_photos_at) == ((photos,), photos)
    assert made.folder.path == place


def plan(kind, photos, place, **_):
    made = api.plan([kind(photos)], SMALL, out=kind(place))
    assert (made.photos_at, made.folder.path) == ((photos,), place)


def generate(kind, run, place, **_):
    assert [path.parent for path in api.generate(kind(run), ["{}"], kind(place))] == [place]


def export(kind, run, place, **_):
    assert api.export(kind(run), "embedding", kind(place)).folder == place


def evaluate(kind, run, **_):
    assert api.evaluate(kind(run), judges=JUDGES)["checkpoints"] == {}
    assert RunFolder(run).scores.is_file()


def make_report(kind, run, place, **_):
    assert api.make_report([kind(run)], kind(place)) == place
    assert place.read_text("utf-8") == "run"


def merge(kind, mergeable, place, **_):
    assert api.merge([kind(file) for file in mergeable], kind(place)) == ("both",)
    assert place.is_file()


NOTHING = {"checkpoints": {}, "cost": {"unet_pictures_drawing": 0, "seconds": {}}}

CALLS = (draft, plan, generate, export, evaluate, make_report, merge)


@pytest.mark.parametrize("kind", [str, Named])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.usefixtures("quick_drawing")
def test_paths_are_taken_in_any_form(call, kind, toy, photos, request, monkeypatch, tmp_path):
    for module in (drawing, evaluation, merge_job):
        monkeypatch.setattr(module, "open_base", lambda *_, **__: toy)
    monkeypatch.setattr(evaluation.Evaluator, "evaluate", lambda *_: dict(NOTHING))
    monkeypatch.setattr(reporting, "_view", lambda folder: folder.path.name)
    monkeypatch.setattr(reporting, "report", "".join)
    monkeypatch.setattr(merge_job.merging, "merge", lambda *_: Delta(("both",), {}, {}))
    takes = inspect.signature(call).parameters
    given = {name: request.getfixturevalue(name) for name in ("run", "mergeable") if name in takes}
    call(kind, photos=photos, place=tmp_path / "new", **given)


def test_every_function_that_takes_a_path_is_tried():
    functions = (getattr(api, name) for name in api.__all__)
    taking = {
        each.__name__
        for each in functions
        if inspect.isfunction(each)
        for parameter in inspect.signature(each).parameters.values()
        if "Path" in str(parameter.annotation)
    }
    assert taking == {call.__name__ for call in CALLS}
