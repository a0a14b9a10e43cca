"""Evaluation and report as jobs on disk, with a toy base and judges that see brightness."""

import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from judging import JUDGES
from rarebooth import evaluation, intervals, reporting
from rarebooth.choose import Quality
from rarebooth.errors import ArtifactError, DivergedError, RareboothError, SettingsError
from rarebooth.evaluation import CHOOSING, evaluate, read_photos, read_set
from rarebooth.folder import RunFolder
from rarebooth.metric import PictureSet
from rarebooth.protocols import Extent, Protocol
from rarebooth.report.figures import FIGURES
from rarebooth.scores import value
from rarebooth.settings import preset_for
from rarebooth.world.signature import MINIATURE_KEY
from rarebooth.world.subjects import Individual
from training_jobs import finish, record

SMALL = Extent(diverse=1, simple=2, validation=1, others=4)
OTHER = Extent(diverse=1, simple=3, validation=1, others=4)


@pytest.fixture
def run(job, toy, tmp_path, monkeypatch):
    """A finished run of the toy, whose pictures cost little."""
    finish(job(lr=0.3))
    folder = tmp_path / "run"
    content = json.loads((folder / "run.json").read_text())
    content["drawing"]["sampler_steps"] = 1
    content["preview"]["sampler_steps"] = 2
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


def test_pictures_that_choose_are_drawn_as_the_run_drew_its_own(run):
    found = evaluate(run, extent=SMALL, checkpoints=["5"])
    for name, sampler, steps in ((CHOOSING, "dpm++", "2"), ("simple", "ddim", "1")):
        with Image.open(RunFolder(run).drawn("5", name)) as picture:
            assert picture.info["rarebooth:sampler"] == sampler
            assert picture.info["rarebooth:steps"] == steps
    assert found["preview"] == {"sampler": "dpm++", "sampler_steps": 2, "guidance": 7.5}
    choosing = SMALL.choosing().pictures
    scored = sum(each.pictures for each in SMALL.subject("dog").values()) * 2
    beside = sum(each.pictures for each in SMALL.beside("dog").values()) * 2
    assert found["cost"]["unet_pictures_drawing"] == 2 * (2 * choosing + scored + beside)


def test_every_figure_of_a_page_is_a_score_that_an_evaluation_writes(run):
    found = evaluate(run, extent=SMALL)["checkpoints"]["5"]["scores"]
    wanted = [figure for figure in FIGURES if not figure.miniature]
    assert [each.label for each in wanted if value(found, each.metric, each.of) is None] == []


def test_a_photo_that_a_probe_looked_at_is_none_that_was_learnt_from(
    run, job, photos, tmp_path, monkeypatch
):
    for number in range(5 - len(list(photos.iterdir()))):
        shade = np.full((64, 64, 3), 10 + number, np.uint8)
        Image.fromarray(shade).save(photos / f"{number} more.png")
    seen = []

    def scored(evidence):
        seen.append(
            (len(evidence.photos), None if evidence.learnt is None else len(evidence.learnt))
        )
        return {}

    for name, flags in (("all", {}), ("probed", {"probe_every": 2})):
        finish(job(name, lr=0.3, **flags))
        with monkeypatch.context() as patch:
            patch.setattr(evaluation.scores, "score", scored)
            evaluate(tmp_path / name, extent=SMALL, checkpoints=["2"])
    assert seen == [(5, None), (5, 4)]

    left_out = read_photos(RunFolder(tmp_path / "probed"))[0][-1]
    drawn = {"5": {"diverse": PictureSet(("a {}",), left_out[None, None])}}
    views = []
    monkeypatch.setattr(reporting, "_pictures", lambda *_: drawn)
    monkeypatch.setattr(reporting, "report", lambda runs: views.extend(runs) or "")
    reporting.make_report([tmp_path / "probed"], tmp_path / "page.html")
    (near,) = views[0].nearest
    assert not np.array_equal(near.photo, left_out)
    assert len(views[0].photos) == 5
    # Where the recommended one is not there, it is of the checkpoint that stands for the run.
    monkeypatch.setattr(reporting, "_pictures", lambda *_: {"2": drawn["5"]})
    reporting.make_report([tmp_path / "probed"], tmp_path / "page.html")
    assert (views[1].recommended, views[1].shown, len(views[1].nearest)) == ("5", "2", 1)


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
    evaluate(run, extent=OTHER, checkpoints=["2"])
    assert [protocol.count for protocol in drawn[1:]] == [3, 3]  # the base's and the checkpoint's


def test_the_best_on_held_out_prompts_is_that_of_all_checkpoints_judged_alike(
    run, tmp_path, monkeypatch
):
    likeness = iter([0.5, 0.4, 0.9, 0.6, 0.1, 0.3])
    monkeypatch.setattr(evaluation.choose, "quality", lambda *_: Quality(next(likeness), 0.5))

    def said():
        return reporting.make_report([run], tmp_path / "page.html").read_text()

    assert evaluate(run, extent=SMALL)["best_held_out"] == "5"
    assert evaluate(run, extent=SMALL, checkpoints=["2"])["best_held_out"] == "5"
    assert "Judged anew" not in said()
    assert evaluate(run, extent=SMALL, checkpoints=["5"])["best_held_out"] == "2"
    assert "Judged anew, checkpoint 2 does best" in said()
    found = evaluate(run, extent=OTHER, checkpoints=["2"])
    assert (found["recommended"], found["best_held_out"]) == ("5", "2")
    assert "Judged anew" not in said()  # the recommended one was not


def test_the_cost_is_of_what_was_drawn_and_scored_in_every_call(run, monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr(evaluation, "time", SimpleNamespace(monotonic=lambda: next(ticks)))

    def cost(extent, *names):
        found = evaluate(run, extent=extent, checkpoints=names)["cost"]
        return found["unet_pictures_drawing"] / forwards, found["seconds"]

    forwards = json.loads((run / "run.json").read_text())["drawing"]["sampler_steps"] * 2
    named, beside = SMALL.subject("dog").values(), SMALL.beside("dog").values()
    each = sum(protocol.pictures for protocol in (*named, *beside))
    chosen = 2 * SMALL.choosing().pictures  # whose preview takes two steps for one
    assert cost(SMALL, "2") == (2 * each + chosen, {"drawing": 5, "scoring": 1})
    assert cost(SMALL, "2") == (2 * each + chosen, {"drawing": 10, "scoring": 2})
    assert cost(SMALL, "4") == (3 * each + 2 * chosen, {"drawing": 15, "scoring": 3})
    # What is scored in another way is another's cost: base and checkpoint, three pictures each.
    assert cost(OTHER, "4") == (6, {"drawing": 5, "scoring": 1})


def test_a_checkpoint_that_cannot_be_drawn_has_no_scores_and_the_others_do(run, monkeypatch):
    worn, said, bad = [], [], {"4"}
    wear, draw = evaluation.wear, evaluation.draw_set

    def noted(session, file):
        worn.append(file.parent.name)
        return wear(session, file)

    def drawn(*given):
        if worn and worn[-1] in bad:
            raise DivergedError("a picture is not a number")
        return draw(*given)

    monkeypatch.setattr(evaluation, "wear", noted)
    monkeypatch.setattr(evaluation, "draw_set", drawn)
    found = evaluate(run, extent=SMALL, notice=said.append)
    assert list(found["checkpoints"]) == ["2", "5"]
    assert said == ["Checkpoint 4 has no scores: a picture is not a number"]
    assert json.loads(RunFolder(run).scores.read_text("utf-8")) == found
    bad |= {"2", "5"}
    with pytest.raises(DivergedError):
        evaluate(run, extent=OTHER)


def test_scores_of_another_precision_are_not_mixed_with_these(run, toy, monkeypatch):
    assert evaluate(run, extent=SMALL, checkpoints=["2"])["precision"] == "fp32"
    assert len(evaluate(run, extent=SMALL, checkpoints=["4"])["checkpoints"]) == 2
    monkeypatch.setattr(toy, "precision", "bf16")
    assert list(evaluate(run, extent=SMALL, checkpoints=["5"])["checkpoints"]) == ["5"]


def test_the_cost_knows_the_class_images_whoever_drew_them(run, job, tmp_path):
    assert evaluate(run, extent=SMALL)["cost"]["unet_pictures_class_images"] == 0
    finish(job("prior", prior="true", class_images=3))
    cost = evaluate(tmp_path / "prior", extent=SMALL, checkpoints=["5"])["cost"]
    forwards = preset_for("toy").draw.forwards
    assert cost["unet_pictures_class_images"] == 3 * forwards
    seconds = record(tmp_path / "prior")["seconds"]
    assert seconds["class images"] > 0


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


TRIES = 12
"""All there are take half a minute: these are some of them."""

WRONG = [None, 5, "x", [], {}, json.loads("[" * 40 + "]" * 40), 10**400, float("inf")]


def changed(value):
    """Every way to put something else in one place of a JSON value."""
    yield from WRONG
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            for other in changed(value[key]):
                copy = value.copy()
                copy[key] = other
                yield copy


def damaged(data):
    """Files with one JSON value replaced, cut short, or with a byte flipped."""
    dice = np.random.default_rng(0)
    yield from (b"[" * 100_000, b"\xff", b"")
    yield from (data[:at] for at in dice.integers(0, len(data), TRIES // 3))
    for at in dice.integers(0, len(data), TRIES):
        bits = int(dice.integers(1, 256))
        yield data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


@pytest.fixture
def slight(run, monkeypatch):
    """An evaluated run, of which a report shows the numbers alone."""
    extent = Extent(diverse=1, simple=1, validation=1, others=1)
    evaluate(run, extent=extent, checkpoints=["2"])
    monkeypatch.setattr(reporting, "_pictures", lambda *_: {})
    monkeypatch.setattr(intervals, "DRAWS", 10)
    return run


@pytest.mark.parametrize("name", ["run.json", "scores.json", "steps.jsonl"])
def test_whatever_stands_in_a_run_is_reported_or_refused(slight, tmp_path, name):
    file, page = slight / name, tmp_path / "page.html"
    data = file.read_bytes()
    value = json.loads(data.splitlines()[0] if name == "steps.jsonl" else data)
    cases = [json.dumps(other).encode() for other in changed(value)]
    random.Random(0).shuffle(cases)
    refused = 0
    for bad in (*cases[: 3 * TRIES], *damaged(data)):
        file.write_bytes(bad)
        try:
            reporting.make_report([slight], page)
        except RareboothError as error:
            refused += str(slight) in str(error)
        RunFolder(slight).cut_steps(("token", "denoiser"), "token", 0)
    assert refused > 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {"method_settings": [1]}}, "settings.method_settings"),
        ({"recommended": 5}, "recommended"),
        ({"recommended": "../../x"}, "recommended"),
        ({"choice": {}}, "choice.rule"),
        ({"seconds": {"token": "x"}}, "seconds.token"),
        ({"drawing": {"x": 1}}, "drawing.x"),
    ],
)
def test_a_record_that_was_changed_is_refused_and_what_is_wrong_named(run, change, said):
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(SettingsError, match=rf"run\.json cannot be read: '{said}' is wrong"):
        evaluate(run)


def test_a_damaged_line_is_refused_where_it_would_be_missed(run):
    folder = RunFolder(run)
    lines = folder.steps.read_bytes().splitlines(keepends=True)
    stages = ("token", "denoiser")
    folder.steps.write_bytes(b"".join([*lines[:4], b"\xff" + lines[4], *lines[5:]]))
    with pytest.raises(SettingsError, match=r"Line 5 of .*steps\.jsonl cannot be read"):
        folder.cut_steps(stages, "denoiser", 3)
    folder.cut_steps(stages, "token", 4)
    assert folder.steps.read_bytes() == b"".join(lines[:4])


def test_a_report_reads_nothing_outside_its_runs(slight, tmp_path):
    outside = tmp_path / "private"
    content = json.loads((slight / "scores.json").read_text())
    content["checkpoints"][str(outside)] = content["checkpoints"]["2"]
    (slight / "scores.json").write_text(json.dumps(content))
    with pytest.raises(SettingsError, match="checkpoints"):
        reporting.make_report([slight], tmp_path / "page.html")
    for name in (str(outside), "../2"):
        with pytest.raises(ArtifactError, match="no checkpoint's name"):
            RunFolder(slight).drawn(name, "diverse")


def crop(path, extent=(8, 8), mark=None):
    text = PngInfo()
    if mark is not None:
        text.add_itxt(MINIATURE_KEY, mark)
    Image.new("L", extent).save(path, format="PNG", pnginfo=text)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b"\x89PNG\r\n"),
        lambda file: crop(file, (9, 9)),
        lambda file: crop(file, (8, 9)),
        lambda file: crop(file, (5000, 5000)),
    ],
)
def test_a_damaged_photo_of_a_run_is_named(tmp_path, damage):
    (tmp_path / "photos").mkdir()
    crop(tmp_path / "photos/1-01.png")
    damage(tmp_path / "photos/1-02.png")
    with pytest.raises(SettingsError, match=r"1-02\.png is no photo as the run kept it"):
        read_photos(RunFolder(tmp_path))


@pytest.mark.parametrize("mark", ["x", "teapot", "unicorn 5", "teapot 5 at 48.8584"])
def test_a_mark_that_the_world_does_not_write_is_none(tmp_path, mark):
    (tmp_path / "photos").mkdir()
    crop(tmp_path / "photos/1-01.png", mark=mark)
    assert read_photos(RunFolder(tmp_path))[1] is None
    crop(tmp_path / "photos/1-01.png", mark="stuffed animal 5")
    assert read_photos(RunFolder(tmp_path))[1] == Individual("stuffed animal", 5)


@pytest.mark.parametrize("most", [None, 1000])
def test_pictures_of_another_size_are_not_decoded(tmp_path, most, monkeypatch):
    crop(tmp_path / "grid.png", (3000, 3000))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)  # beyond it, Pillow refuses to open it
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decoded"))
    assert read_set(tmp_path / "grid.png", SMALL.choosing(), 8) is None


def test_only_leftovers_of_our_own_are_swept(tmp_path):
    folder = RunFolder(tmp_path)
    ours = [
        ".run.json.7.part", ".run.json.7-00ff.part", "checkpoints/2/.subject.safetensors.7.part",
        "photos/.1-01.png.7.part", "evaluation/2/.simple.png.7.part",
    ]  # fmt: skip
    theirs = [
        ".mine.part", ".mine.7.part", "checkpoints/2/.run.json.7.part", "photos/.x.part",
        "state/.git/config", "state/precious/thesis.txt",
    ]  # fmt: skip
    states = ["state/.part-token-00000003-7/w", "state/.old-token-00000002/w"]
    for name in (*ours, *theirs, *states, "state/token-00000003/w"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".export.77.part").mkdir()
    (tmp_path / ".photos.png.77.part").mkdir()
    folder.sweep()
    assert {name for name in (*ours, *theirs, *states) if (tmp_path / name).exists()} == {*theirs}
    assert (tmp_path / "state/token-00000003/w").exists()
    folder.discard_state()
    assert sorted(path.name for path in folder.state.iterdir()) == [".git", "precious"]
