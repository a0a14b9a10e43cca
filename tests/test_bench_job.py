"""One job of a benchmark, and a whole benchmark from the command line, on a tiny base."""

import base64
import io
import json
import os
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from judging import JUDGES
from rarebooth.bench import figures, job, running
from rarebooth.bench.plan import read_plan
from rarebooth.bench.running import rehearse
from rarebooth.bench.subjects import photographed
from rarebooth.cli import run as command

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
    assert len(body["checkpoints"]["1"]["scores"]["dino"]["diverse"]["prompts"]) == 25

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


def test_a_photo_that_is_left_out_is_what_likeness_is_measured_against(plan_file, monkeypatch):
    spec = replace(read_plan(plan_file).jobs[0], leave_one_out=True)
    whole = photographed(replace(spec, leave_one_out=False), 32)
    divided = photographed(spec, 32)
    assert len(divided.learnt.photos) == len(whole.learnt.photos) - 1
    assert np.array_equal(divided.compared, whole.learnt.images[-1:])
    assert np.array_equal(whole.compared, whole.learnt.images)


def test_a_benchmark_continues_where_it_stopped_and_draws_its_figures(
    plan_file, bodies, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(running, "run_job", lambda spec: bodies[spec.label])
    records = tmp_path / "records"
    flags = [str(plan_file), "--records", str(records), "--executor", "inline"]
    assert command(["bench", *flags, "--dry-run"]) == 0
    assert "2 of 2 jobs" in capsys.readouterr().out
    assert not records.exists()
    assert command(["bench", *flags]) == 0
    out = capsys.readouterr().out
    assert "2/2 dog dreambooth seed 0: done" in out
    files = sorted(records.iterdir())
    assert len(files) == 2
    assert all(str(plan_file.parent) not in file.read_text() for file in files)
    table = (tmp_path / "results" / "small.md").read_text()
    assert "1 of 1 subjects: dog" in table
    for ending in ("likeness", "class", "longer-training"):
        assert (
            Image.open(tmp_path / "results" / "pictures" / f"small-dog-{ending}.jpg").width
            > 3 * 128
        )

    files[0].unlink()
    assert command(["bench", *flags]) == 0
    assert "1 of 2 jobs are to be run" in capsys.readouterr().out
    assert (tmp_path / "results" / "small.md").read_text() == table


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
def test_the_plans_run_on_dreambench_photos(plan_file, tiny_folder, tmp_path):
    path = tmp_path / "real.toml"
    path.write_text(PLAN.format(base=tiny_folder(), subjects="dreambench"))
    assert "2 of 2 jobs are to be run" in next(rehearse(path, tmp_path / "none"))
    body = job.run_job(read_plan(path).jobs[0])
    assert body["checkpoints"]["1"]["scores"]["dino"]["real"]["value"] > 0


def test_a_base_that_is_not_here_is_not_fetched(tmp_path, monkeypatch):
    path = tmp_path / "far.toml"
    path.write_text(PLAN.format(base="sd21", subjects="miniature"))
    monkeypatch.setattr(running, "open_base", None)
    lines = list(rehearse(path, tmp_path / "none"))
    assert "2 of 2 jobs are to be run" in lines[0]
    assert "downloaded first" in lines[1]
