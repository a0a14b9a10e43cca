"""What a benchmark takes, by hand."""

from types import SimpleNamespace
from typing import Any

from bench_jobs import small_plan
from rarebooth.bench import estimate
from rarebooth.bench.estimate import Work, operations_a_picture, seconds_a_picture, work_of
from rarebooth.bench.running import scoring

PLAN = """
base = "embedded"
subjects = "miniature"
only = ["dog", "dog2"]
[extent]
diverse = 1
simple = 3
validation = 2
others = 4
[draw]
sampler = "ddim"
sampler_steps = 5
guidance = 2.0
[entries.dreambooth]
method = "dreambooth"
settings = { class_images = 6, steps = 40, batch = 2 }
checkpoints = [10, 20, 40]
fixed = 10
"""

VALIDATION = 4 * 2
SUBJECT = 25 * 1 + 3
BESIDE = 2 * 4 + 4 * 1
FORWARDS = 5 * 2
CLASS_IMAGES = 6 * 25 * 2  # as the preset draws: 25 steps, with guidance
TRAINED = 2 * 2 * 40  # two photos and two class images a step


def test_work_by_hand(tmp_path):
    """Two dogs: everything twice but the images of the class."""
    plan = small_plan(tmp_path, PLAN)
    drawn = 3 * VALIDATION + 2 * (SUBJECT + BESIDE) + BESIDE
    assert work_of(plan.jobs) == Work(2 * drawn * FORWARDS + CLASS_IMAGES, 2 * TRAINED)
    whole = small_plan(tmp_path / "all", f'{PLAN}score = "all"\n')
    drawn += SUBJECT + BESIDE
    assert work_of(whole.jobs) == Work(2 * drawn * FORWARDS + CLASS_IMAGES, 2 * TRAINED)
    looked_at = small_plan(
        tmp_path / "kept", PLAN.replace("[entries", '[pictures]\nsubjects = ["dog"]\n[entries')
    )
    more = work_of(looked_at.jobs).forward - work_of(plan.jobs).forward
    assert more == 3 * (3 + 2 + 3) * FORWARDS  # Figures 3, 4 and 5, at three checkpoints
    assert work_of([]) == Work(0, 0)


def test_a_step_of_training_is_three_passes():
    assert Work(10, 4).passes == 10 + 4 * 3
    assert Work(1, 2) + Work(3, 4) == Work(4, 6)


def test_the_fastest_of_three_passes_counts(monkeypatch, toy):
    seconds = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(estimate, "seconds_a_pass", lambda *_: next(seconds))
    assert seconds_a_picture(toy, 1) == 1.0
    assert next(seconds, None) is None


def test_operations_are_two_for_each_weight_at_each_pixel(toy):
    # Two convolutions of 3 and 6 channels, 3 x 3 at 4 x 4 pixels, and 8 numbers that become 6.
    assert operations_a_picture(toy) == 2 * (2 * 3 * 6 * 9 * 16 + 8 * 6)


def test_scoring_is_told_from_records_alone():
    records: dict[Any, Any] = {
        n: {"status": "done", "body": {"cost": {"cpu_seconds": {"scoring": seconds}}}}
        for n, seconds in enumerate((10.0, 30.0))
    }
    records[2] = {"status": "failed", "body": None}
    kept: Any = SimpleNamespace(load=lambda _: records)
    (line,) = scoring(kept, [])
    assert line == "Scoring took 20 seconds a job in the 2 jobs that are recorded."
    nothing: Any = SimpleNamespace(load=lambda _: {})
    assert list(scoring(nothing, [])) == []
