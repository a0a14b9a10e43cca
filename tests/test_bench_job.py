"""One job of a benchmark, and a whole benchmark from the command line, on a tiny base."""

import base64
import io
import json
import os
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from judging import JUDGES
from rarebooth.bases import sd
from rarebooth.bench import figures, job, running
from rarebooth.bench.plan import DREAMBENCH, read_plan
from rarebooth.bench.running import open_benchmark, rehearse
from rarebooth.bench.subjects import photographed
from rarebooth.choose import Quality
from rarebooth.cli import run as command
from rarebooth.errors import DivergedError, ResourceError
from rarebooth.protocols import VALIDATION, Extent
from rarebooth.world.subjects import BENCHMARK

PLAN = """
base = "{base}"
subjects = "{subjects}"
only = ["dog"]
[extent]
diverse = 1
simple = 2
validation = 1
others = 4
[draw]
sampler_steps = 1
[pictures]
subjects = ["dog"]
[entries.two-stage]
method = "two-stage"
settings = {{ token_steps = 1, lr = 1e-2 }}
checkpoints = [1, 2]
fixed = 1
[entries.dreambooth]
method = "dreambooth"
settings = {{ class_images = 2 }}
checkpoints = [2, 3]
fixed = 3
score = "all"
"""


def _unknown(spec, size):
    return replace(photographed(spec, size), individual=None)


@pytest.fixture(scope="module")
def plan_file(tiny_folder, tmp_path_factory):
    """A plan of two quick entries on a tiny base, judged by brightness."""
    folder = tmp_path_factory.mktemp("bench")
    path = folder / "small.toml"
    path.write_text(PLAN.format(base=tiny_folder(), subjects="miniature"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAREBOOTH_CACHE", str(folder / "cache"))
        patch.setattr(job, "_judges", lambda *_: JUDGES)
        # What true renders tell is tested with the metrics that ask for them, by the hundred.
        patch.setattr(job, "photographed", _unknown)
        yield path


@pytest.fixture(scope="module")
def bodies(plan_file):
    """What the plan's two jobs return, by label."""
    return {spec.label: job.run_job(spec) for spec in read_plan(plan_file).jobs}


def test_a_job_is_scored_at_the_checkpoints_that_count(bodies):
    body = bodies["two-stage"]
    assert body["chosen"]["fixed"] == "1"
    scored = {name for name, about in body["checkpoints"].items() if "scores" in about}
    assert scored == set(body["chosen"].values())
    assert all("validation" in about for about in body["checkpoints"].values())
    assert body["cost"]["unet_pictures_training"] == 4 + 2  # a batch of four, then two of one
    own = "the base's own pictures"
    assert body["cost"]["cpu_seconds"].keys() == {"training", "drawing", "scoring", own}
    assert set(body["checkpoints"]["1"]["scores"]["dino"]["diverse"]) == {"value"}

    body = bodies["dreambooth"]
    assert all("scores" in about for about in body["checkpoints"].values())
    assert body["cost"]["class_images"] == 2
    assert body["cost"]["cpu_seconds"].keys() >= {"training", "class images", "drawing"}


def test_a_job_learns_once_and_its_numbers_are_the_same_again(plan_file, bodies, monkeypatch):
    spec = read_plan(plan_file).jobs[0]
    kind = type(job.method_of(spec))
    learnt, fit = [], kind.fit

    def noted(self, *given):
        learnt.append(self.steps)
        return fit(self, *given)

    monkeypatch.setattr(kind, "fit", noted)
    one, other = job.run_job(spec), deepcopy(bodies["two-stage"])
    assert learnt == [2]
    for body in (one, other):
        for key in ("cpu_seconds", "seconds"):
            del body["cost"][key]
    assert one == other


def _diverging(monkeypatch, steps, where="draw_set"):
    """A checkpoint stops being finite numbers where a function draws it."""
    wear, draw, worn = job.wear, getattr(job, where), []

    def noted(session, file):
        worn.append(file.stem)
        return wear(session, file)

    def drawn(*given):
        if worn and worn[-1] == steps:
            raise DivergedError("a picture is not a number")
        return draw(*given)

    monkeypatch.setattr(job, "wear", noted)
    monkeypatch.setattr(job, where, drawn)


def test_a_checkpoint_that_cannot_be_drawn_is_left_out_and_the_others_count(
    plan_file, bodies, monkeypatch, tmp_path, capsys
):
    _diverging(monkeypatch, "2")
    spec = read_plan(plan_file).jobs[1]
    body, whole = job.run_job(spec), bodies["dreambooth"]
    assert body["undrawn"] == {"2": "DivergedError: a picture is not a number"}
    assert body["chosen"] == {"fixed": "3", "held-out": "3"}
    assert body["checkpoints"] == {"3": whole["checkpoints"]["3"]}
    assert whole.keys() == body.keys() - {"undrawn"}
    # Whoever reads records copes with it.
    monkeypatch.setattr(running, "fetch_judges", lambda *_: None)
    monkeypatch.setattr(
        running, "run_job", lambda each, precision: body if each == spec else bodies[each.label]
    )
    flags = ["--records", str(tmp_path / "records"), "--executor", "inline"]
    assert command(["bench", str(plan_file), *flags]) == 0
    assert (
        "Checkpoint 2 cannot be drawn and is left out: DivergedError: a picture"
        in capsys.readouterr().out
    )
    table = (tmp_path / "results" / "small.md").read_text()
    assert "could not be drawn, and are left out: dog, dreambooth, 0, 2." in table
    assert "| dreambooth | 3 |" in table
    assert "| dreambooth | 2 |" not in table
    sheets = tmp_path / "results" / "pictures"
    assert len(list(sheets.glob("*.webp"))) == 3


def test_what_was_chosen_and_cannot_be_scored_is_chosen_no_more(plan_file, monkeypatch):
    _diverging(monkeypatch, "2", "draw_sets")
    judged = iter((Quality(0.5, 0.5), Quality(0.9, 0.9)))
    monkeypatch.setattr(job.choose, "quality", lambda *_: next(judged))
    body = job.run_job(read_plan(plan_file).jobs[0])
    assert body["chosen"] == {"fixed": "1", "held-out": "1"}
    assert body["checkpoints"].keys() == {"1"}
    assert body["checkpoints"]["1"].keys() == {"validation", "scores", "pictures"}
    assert body["undrawn"].keys() == {"2"}


def test_a_fixed_checkpoint_that_cannot_be_drawn_fails_the_job(plan_file, monkeypatch):
    _diverging(monkeypatch, "1")
    with pytest.raises(DivergedError, match=r"fixed checkpoint, 1, .* cannot be drawn: a picture"):
        job.run_job(read_plan(plan_file).jobs[0])


@pytest.fixture(scope="module")
def seen(plan_file):
    """What a job that leaves a photo out learns from, judges and scores; it changes no weight."""
    spec = read_plan(plan_file).jobs[0]
    spec = replace(spec, leave_one_out=True, fixed=2, settings={**spec.settings, "lr": 1e-30})
    kind = type(job.method_of(spec))
    fit, draw_set, found = kind.fit, job.draw_set, SimpleNamespace(spec=spec)
    found.chosen_by, found.drawn, found.evidence = [], [], []

    def noted_fit(self, session, subjects, run):
        found.learnt = subjects[0].images
        return fit(self, session, subjects, run)

    def noted_draw(session, protocol, *given):
        found.drawn.append(protocol)
        return draw_set(session, protocol, *given)

    def noted_quality(pictures, photos, *_):
        found.chosen_by.append((pictures.templates, photos))
        return Quality(1 / len(found.chosen_by), 0.5)  # the first is the best

    def noted_score(evidence):
        found.evidence.append(evidence)
        return {"dino": {"diverse": {"value": float(len(found.evidence))}}}  # the last is

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "fit", noted_fit)
        patch.setattr(job, "draw_set", noted_draw)
        patch.setattr(job.choose, "quality", noted_quality)
        patch.setattr(job.scores, "score", noted_score)
        found.body = job.run_job(replace(spec, pictures=False))
    return found


def test_a_photo_that_is_left_out_is_what_likeness_is_measured_against(seen):
    whole = photographed(replace(seen.spec, leave_one_out=False), 32)
    assert np.array_equal(whole.compared, whole.learnt.images)
    assert np.array_equal(seen.learnt, whole.learnt.images[:-1])
    assert len(seen.evidence) == 2
    for evidence in seen.evidence:
        assert np.array_equal(evidence.photos, whole.learnt.images[-1:])
        assert np.array_equal(evidence.learnt, seen.learnt)


def test_a_checkpoint_is_chosen_by_validation_prompts_and_learnt_photos_alone(seen):
    assert seen.drawn == [seen.spec.extent.choosing()] * 2
    for templates, photos in seen.chosen_by:
        assert templates == VALIDATION
        assert np.array_equal(photos, seen.learnt)
    assert seen.body["chosen"] == {"fixed": "2", "held-out": "1"}


def test_the_base_draws_its_own_pictures_with_the_seeds_of_the_trained_ones(seen):
    evidence = seen.evidence[0]
    assert evidence.untouched.keys() == evidence.others.keys() == {"class", "unrelated"}
    for name, others in evidence.others.items():
        assert others.templates == evidence.untouched[name].templates
        assert np.array_equal(others.images, evidence.untouched[name].images)
        assert len({picture.tobytes() for picture in others.flat}) == len(others.flat)


@pytest.mark.parametrize("noun", sorted({subject.toy for subject in BENCHMARK}))
def test_what_chooses_shares_no_prompt_and_no_seed_with_what_scores(noun):
    extent = Extent()
    choosing = extent.choosing()
    assert choosing.templates == VALIDATION
    for scored in (*extent.subject(noun).values(), *extent.beside(noun).values()):
        assert not {*choosing.templates} & {*scored.templates}
        assert not {*choosing.seeds} & {*scored.seeds}


def test_jobs_that_failed_are_told_with_an_error_until_they_are_run_again(
    plan_file, bodies, tmp_path, capsys, monkeypatch
):
    def failing(spec, precision):
        assert precision == "fp32"
        if spec.method == "dreambooth":
            raise ResourceError("No space is left.")
        return bodies[spec.label]

    monkeypatch.setattr(running, "fetch_judges", lambda *_: None)
    monkeypatch.setattr(running, "run_job", failing)
    flags = [str(plan_file), "--records", str(tmp_path / "records"), "--executor", "inline"]
    for _ in range(2):
        assert command(["bench", *flags]) == 1
        told = capsys.readouterr()
        assert "1 of 2 jobs failed" in told.err
        assert "--retry-failed" in told.err
        assert "No space is left." in told.err
        assert "small.md" in told.out
    monkeypatch.setattr(running, "run_job", lambda spec, precision: bodies[spec.label])
    assert command(["bench", *flags, "--retry-failed"]) == 0


def test_a_benchmark_continues_where_it_stopped_and_draws_its_figures(
    plan_file, bodies, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(running, "run_job", lambda spec, precision: bodies[spec.label])
    fetched = []
    monkeypatch.setattr(running, "fetch_judges", lambda base, _: fetched.append(base))
    records = tmp_path / "records"
    flags = [str(plan_file), "--records", str(records), "--executor", "inline"]
    assert command(["bench", *flags, "--dry-run"]) == 0
    assert "2 of 2 jobs" in capsys.readouterr().out
    assert not records.exists()
    assert not fetched
    assert command(["bench", *flags]) == 0
    assert len(fetched) == 1
    out = capsys.readouterr().out
    assert "2/2 dog dreambooth seed 0: done" in out
    files = sorted(records.iterdir())
    assert len(files) == 2
    assert all(str(plan_file.parent) not in file.read_text() for file in files)
    table = (tmp_path / "results" / "small.md").read_text()
    assert "1 of 1 subjects: dog" in table
    for ending in ("likeness", "class", "longer-training"):
        assert (
            Image.open(tmp_path / "results" / "pictures" / f"small-dog-{ending}.webp").width
            > 3 * 128
        )

    files[0].unlink()
    assert command(["bench", *flags]) == 0
    assert "1 of 2 jobs are to be run" in capsys.readouterr().out
    assert (tmp_path / "results" / "small.md").read_text() == table


def test_a_plan_that_says_fp32_finds_the_same_records_where_bf16_is_usual(
    plan_file, bodies, tmp_path, monkeypatch
):
    ran, asked = [], []

    def noted(spec, precision):
        ran.append(precision)
        return bodies[spec.label]

    monkeypatch.setattr(running, "run_job", noted)
    monkeypatch.setattr(running, "fetch_judges", lambda *_: None)
    monkeypatch.setattr(running, "_digests", running._digests.__wrapped__)  # remembers no machine
    records = tmp_path / "records"
    flags = ["--records", str(records), "--executor", "inline"]
    assert command(["bench", str(plan_file), *flags]) == 0
    assert ran == ["fp32"] * 2

    def on_a_gpu(name, device):
        asked.append(name)
        return "bf16" if name == "auto" else name

    monkeypatch.setattr(sd, "pick_precision", on_a_gpu)
    assert len(open_benchmark(plan_file, records).pending()) == 2
    told = tmp_path / "told.toml"
    told.write_text(f'precision = "fp32"\n{plan_file.read_text()}')
    assert open_benchmark(told, records).pending() == []
    next(records.iterdir()).unlink()
    asked.clear()
    assert command(["bench", str(told), *flags]) == 0
    assert ran == ["fp32"] * 3
    assert len(list(records.iterdir())) == 2
    assert set(asked) == {"fp32"}
    assert command(["bench", str(plan_file), *flags]) == 0
    assert ran[3:] == ["bf16"] * 2


def test_the_class_is_shown_by_the_checkpoint_that_was_chosen(bodies, monkeypatch):
    again, shown = json.loads(json.dumps(bodies)), []
    monkeypatch.setattr(figures, "contact_sheet", shown.extend)
    for body in again.values():
        body["chosen"]["held-out"] = list(body["checkpoints"])[-1]
    figures.of_the_class(again)
    assert [row.label for row in shown[1:]] == [
        "the class by the base, untrained",
        "the class by two-stage, 2 steps",
        "the class by dreambooth, 3 steps",
    ]
    kept = again["two-stage"]["checkpoints"]["2"]["pictures"]["class"][0]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(kept))))
    assert np.array_equal(shown[2].pictures[0], picture)
    assert len(shown[1].pictures) == 3
    assert not np.array_equal(shown[1].pictures, shown[2].pictures)


def test_figures_come_from_records_alone(bodies):
    again = json.loads(json.dumps(bodies))
    sheet = figures.longer_training(again)
    rows = 1 + sum(len(body["checkpoints"]) for body in bodies.values())
    assert sheet.height > rows * 128
    kept = bodies["two-stage"]["checkpoints"]["1"]["pictures"]["simple"][0]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(kept))))
    assert picture.shape == (32, 32, 3)


@pytest.mark.skipif(
    not os.environ.get("RAREBOOTH_DREAMBENCH"),
    reason="RAREBOOTH_DREAMBENCH does not name DreamBench's folder",
)
def test_a_job_runs_on_dreambench_photos(plan_file, tiny_folder, tmp_path):
    path = tmp_path / "real.toml"
    path.write_text(PLAN.format(base=tiny_folder(), subjects="dreambench"))
    assert "2 of 2 jobs are to be run" in next(rehearse(path, tmp_path / "none"))
    body = job.run_job(read_plan(path).jobs[0])
    assert body["checkpoints"]["1"]["scores"]["dino"]["real"]["value"] > 0


@pytest.fixture
def far(monkeypatch):
    """A base that is not here, and that nobody opens or asks the network for."""
    monkeypatch.setattr(running.hub, "pending", lambda name: f"{name} would be downloaded")
    monkeypatch.setattr(running, "open_base", None)
    monkeypatch.setattr(running, "pending_judges", lambda name: [f"{name}'s judge would be"])


def test_a_gpu_is_not_expected_to_sustain_as_much_on_a_small_base(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(PLAN.format(base="embedded", subjects="miniature"))
    *_, operations = rehearse(path, tmp_path / "none")
    assert "on a GPU that sustains 5 trillion" in operations


@pytest.mark.usefixtures("far")
def test_a_base_that_is_not_here_is_not_fetched(tmp_path):
    path = tmp_path / "far.toml"
    path.write_text(PLAN.format(base="sd21", subjects="miniature"))
    jobs, operations, download, judge = rehearse(path, tmp_path / "none")
    assert "2 of 2 jobs are to be run" in jobs
    assert "by the published sizes of its U-Net" in operations
    assert "on a GPU that sustains 50 trillion a second, as an H100 did with four" in operations
    assert "base is to be downloaded first" in download
    assert judge == "A judge is to be downloaded first: sd21's judge would be."
    path.write_text(PLAN.format(base="someone/model", subjects="miniature"))
    assert "once the base is on this machine" in list(rehearse(path, tmp_path / "none"))[1]


@pytest.mark.usefixtures("far")
def test_the_papers_own_comparison_is_rehearsed(tmp_path, monkeypatch):
    plan_file = Path(__file__).parent.parent / "benchmarks" / "paper-sd21.toml"
    for subject in BENCHMARK:
        (tmp_path / subject.name).mkdir()
        (tmp_path / subject.name / "00.jpg").write_bytes(subject.name.encode())
    monkeypatch.setenv(DREAMBENCH, str(tmp_path))
    jobs, operations, *_ = rehearse(plan_file, tmp_path / "none")
    assert "240 of 240 jobs are to be run" in jobs
    assert "hours on a GPU" in operations
    plan = read_plan(plan_file)
    here = read_plan(plan_file.parent / "paper.toml")
    there = {entry.label: (entry.method, entry.subjects, entry.seeds) for entry in here.entries}
    assert {each.label: (each.method, each.subjects, each.seeds) for each in plan.entries} == there
    assert {each.draw.sampler_steps for each in plan.jobs} == {50}
    of_weights = [each for each in plan.jobs if each.method != "textual-inversion"]
    assert {each.checkpoints for each in of_weights} == {(200, 400, 600, 800)}
    tuned = [each for each in of_weights if each.method != "custom-diffusion"]
    assert {each.settings["lr"] for each in tuned} == {5e-6}
