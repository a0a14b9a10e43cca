"""Evaluation and report as jobs on disk, with a toy base and judges that see brightness."""

import json

import numpy as np
import pytest
from PIL import Image

from judging import JUDGES
from rarebooth import evaluation, reporting
from rarebooth.errors import SettingsError
from rarebooth.evaluation import evaluate, read_photos, read_set
from rarebooth.folder import RunFolder
from rarebooth.protocols import Extent, Protocol
from training_jobs import finish

SMALL = Extent(diverse=1, simple=2, validation=1, others=4)


@pytest.fixture
def run(job, toy, tmp_path, monkeypatch):
    """A finished run of the toy, whose pictures cost little."""
    finish(job(lr=0.3))
    folder = tmp_path / "run"
    content = json.loads((folder / "run.json").read_text())
    content["drawing"]["sampler_steps"] = 1
    (folder / "run.json").write_text(json.dumps(content))
    monkeypatch.setattr(evaluation, "open_base", lambda *_, **__: toy)
    monkeypatch.setattr(evaluation, "open_judges", lambda *_: JUDGES)
    monkeypatch.setattr(reporting, "open_judges", lambda *_: JUDGES)
    return folder


def test_every_checkpoint_of_the_last_stage_is_scored(run):
    told = []
    found = evaluate(run, extent=SMALL, progress=lambda *said: told.append(said))
    assert found == json.loads((run / "scores.json").read_text())
    assert found["checkpoints"].keys() == {"2", "4", "5"}
    assert told == [("base", 0, 4), ("2", 1, 4), ("4", 2, 4), ("5", 3, 4)]
    for about in found["checkpoints"].values():
        assert about["scores"]["dino"].keys() >= {"diverse", "simple", "real"}
        assert about["scores"]["drift"].keys() == {"class", "unrelated"}
        assert "placed" not in about["scores"]  # these photos are no miniature's
        assert about["validation"].keys() == {"likeness", "following", "harmonic"}
    assert found["recommended"] == "5"
    assert found["conventions"]["dino"] == "brightness, pixels"


def test_the_base_itself_has_not_drifted(run, toy):
    """A checkpoint that changed nothing: its pictures are the base's."""
    whole = evaluate(run, extent=SMALL)["checkpoints"]["5"]["scores"]
    assert whole["drift"]["class"]["value"] > 0
    found = evaluate(run, extent=SMALL, checkpoints=["stage-one"])
    alone = found["checkpoints"]["stage-one"]["scores"]
    assert alone["drift"]["class"]["value"] == 0  # a new word leaves what does not say it alone
    assert alone["pres"]["class.change"]["value"] == 0


def test_what_is_drawn_is_not_drawn_again_unless_it_would_differ(run, monkeypatch):
    first = evaluate(run, extent=SMALL)
    drawn = []
    real = evaluation.draw_set
    monkeypatch.setattr(
        evaluation, "draw_set", lambda *given: (drawn.append(given[1]), real(*given))[1]
    )
    again = evaluate(run, extent=SMALL)
    assert not drawn
    assert again["checkpoints"] == first["checkpoints"]
    damaged = RunFolder(run).drawn("4", "simple")
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert evaluate(run, extent=SMALL)["checkpoints"] == first["checkpoints"]
    assert len(drawn) == 1
    evaluate(run, extent=Extent(diverse=1, simple=3, validation=1, others=4), checkpoints=["2"])
    assert [protocol.count for protocol in drawn[1:]] == [3, 3]  # the base's and the checkpoint's


def test_a_grid_of_pictures_is_read_back_as_it_was(run, toy):
    evaluate(run, extent=SMALL)
    protocol = SMALL.subject("dog")["simple"]
    folder = RunFolder(run)
    found = read_set(folder.drawn("2", "simple"), protocol, toy.size)
    assert found is not None
    grid = np.asarray(Image.open(folder.drawn("2", "simple")))
    assert np.array_equal(grid[: toy.size, toy.size : 2 * toy.size], found.images[0, 1])
    assert read_set(folder.drawn("2", "simple"), Protocol(("a", "b"), 2, 0), toy.size) is None
    assert read_set(folder.path / "nothing.png", protocol, toy.size) is None


def test_only_a_finished_run_of_one_subject_can_be_evaluated(run, tmp_path):
    with pytest.raises(SettingsError, match="no run"):
        evaluate(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="no checkpoint 7; it has: stage-one, 2, 4, 5"):
        evaluate(run, checkpoints=["7"])
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**content, "status": "interrupted"}))
    with pytest.raises(SettingsError, match="interrupted"):
        evaluate(run)


def test_photos_of_a_run_are_its_crops(run, toy):
    folder = RunFolder(run)
    photos, individual = read_photos(folder)
    assert photos.shape[1:] == (toy.size, toy.size, 3)
    assert individual is None
    for file in folder.crops(1):
        file.unlink()
    with pytest.raises(SettingsError, match="no photos"):
        read_photos(folder)


def test_a_report_holds_the_pictures_that_were_scored(run, tmp_path):
    with pytest.raises(SettingsError, match="rarebooth evaluate"):
        reporting.make_report([run], tmp_path / "page.html")
    evaluate(run, extent=SMALL)
    page = reporting.make_report([run], tmp_path / "page.html").read_text()
    assert page.count("data:image/png") > 20
    assert "5 is recommended" in page
    assert str(tmp_path) not in page
