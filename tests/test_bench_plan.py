"""A benchmark's plan: what it may say, the jobs it makes, and what their keys depend on."""

import dataclasses
from hashlib import sha256
from importlib import resources
from pathlib import Path

import pytest

from rarebooth.bench import plan as plans
from rarebooth.bench.plan import read_plan
from rarebooth.errors import SettingsError
from rarebooth.methods import find as find_method
from rarebooth.protocols import Extent
from rarebooth.settings import DrawSettings
from rarebooth.world.subjects import BENCHMARK, VALIDATION

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

WHOLE = """
base = "embedded"
subjects = "miniature"
only = ["dog", "backpack"]
seeds = [3]
[extent]
diverse = 1
simple = 16
[draw]
sampler_steps = 15
[pictures]
subjects = ["backpack", "cat"]
[entries.two-stage]
method = "two-stage"
settings = { token_steps = 7, lr = 1 }
checkpoints = [100, 200, 300, 400]
fixed = 200
score = "all"
seeds = [0, 1, 2]
[entries.ti]
method = "textual-inversion"
checkpoints = [50]
fixed = 50
only = ["cat", "dog"]
extent = { simple = 4 }
"""


def read(tmp_path, text=WHOLE, **changes):
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "plan.toml").write_text(text, "utf-8")
    return read_plan(tmp_path / "plan.toml")


def test_a_plan_says_what_is_run_on_what(tmp_path):
    plan = read(tmp_path)
    assert [subject.name for subject in plan.subjects] == ["backpack", "cat", "dog"]
    assert [(job.subject, job.label, job.seed) for job in plan.jobs] == [
        ("backpack", "two-stage", 0),
        ("backpack", "two-stage", 1),
        ("backpack", "two-stage", 2),
        ("cat", "ti", 3),
        ("dog", "two-stage", 0),
        ("dog", "two-stage", 1),
        ("dog", "two-stage", 2),
        ("dog", "ti", 3),
    ]
    first, cat = plan.jobs[0], plan.jobs[3]
    assert (first.noun, first.photos, first.base) == ("backpack", "miniature", "embedded")
    assert (first.fixed, first.checkpoints, first.score) == (200, (100, 200, 300, 400), "all")
    assert first.extent == Extent(diverse=1, simple=16)
    assert first.draw == DrawSettings(sampler="dpm++", sampler_steps=15, guidance=2.5)
    assert cat.extent == Extent(diverse=1, simple=4)
    assert cat.score == "chosen"
    # Of an entry's first seed, of the subjects that are named.
    shown = [(job.subject, job.seed) for job in plan.jobs if job.pictures]
    assert shown == [("backpack", 0), ("cat", 3)]
    silent = read(tmp_path, o=("extent = { simple = 4 }", "pictures = false"))
    assert [job.subject for job in silent.jobs if job.pictures] == ["backpack"]


def test_settings_are_complete_and_train_to_the_last_checkpoint(tmp_path):
    settings = read(tmp_path).jobs[0].settings
    assert (settings["token_steps"], settings["lr"], settings["steps"]) == (7, 1.0, 400)
    assert settings["token_lr"] == 2e-2  # the base's preset
    assert settings["token"] == "(rare)"  # the method's own


def test_the_subjects_are_the_benchmarks_in_their_order(tmp_path):
    everyone = ('only = ["dog", "backpack"]', "")
    assert read(tmp_path, o=everyone).subjects == BENCHMARK
    tuned = ('"miniature"', '"validation"')
    text = WHOLE.replace('only = ["cat", "dog"]', "").replace('subjects = ["backpack", "cat"]', "")
    assert read(tmp_path, text, o=everyone, s=tuned).subjects == VALIDATION
    real = read(tmp_path, o=everyone, s=('"miniature"', '"dreambench"'))
    assert real.subjects == BENCHMARK
    assert {job.photos for job in real.jobs} == {"dreambench"}


def test_what_a_plan_computes_in_is_no_part_of_its_jobs(tmp_path):
    plain, told = (
        read(tmp_path),
        read(tmp_path, p=("seeds = [3]", 'seeds = [3]\nprecision = "bf16"')),
    )
    assert (plain.precision, told.precision) == ("auto", "bf16")
    assert told.jobs == plain.jobs


def test_whatever_part_is_done_first_is_balanced(tmp_path):
    plan = read(tmp_path, o=('only = ["dog", "backpack"]', ""), c=('only = ["cat", "dog"]', ""))
    per_subject = 4
    assert len(plan.jobs) == per_subject * len(BENCHMARK)
    for start in range(0, len(plan.jobs), per_subject):
        group = plan.jobs[start : start + per_subject]
        assert {job.subject for job in group} == {BENCHMARK[start // per_subject].name}
        assert [job.label for job in group] == ["two-stage"] * 3 + ["ti"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds = [3]", "sedes = [3]", r"'sedes' in the plan; it knows: base, draw, entries, .*"),
        ("simple = 16", "simpel = 16", r"'simpel' in \[extent\]; .* diverse, others, simple, val"),
        ("sampler_steps", "steps", r"'steps' in \[draw\]; it knows: guidance, sampler, sampler_st"),
        ("fixed = 200", "fixd = 200", r"'fixd' in \[entries.two-stage\]; it knows: checkpoints, "),
        ("token_steps", "tokn_steps", r"'tokn_steps' in \[entries.two-stage\] settings; .*token"),
        ("token_steps = 7", "seed = 7", r"'seed' in \[entries.two-stage\] settings"),
        ("{ simple = 4 }", "{ a = 4 }", r"'a' in \[entries.ti\] extent; it knows: diverse, "),
        ('subjects = ["backpack", "cat"]', "of = []", r"'of' in \[pictures\]; it knows: subjects"),
        ("seeds = [3]", 'seeds = ["x"]', r"seeds in the plan is \['x'\]: .*integer"),
        ("sampler_steps = 15", 'sampler = "euler"', r"sampler in \[draw\] is 'euler'"),
        ("sampler_steps = 15", "sampler_steps = 0", r"sampler_steps is 0; it must be at least 1"),
        ("diverse = 1", "diverse = 0", r"diverse .* is 0; use 1 or more"),
        ('base = "embedded"', "", r"the plan has no 'base'; it needs base, subjects, entries"),
        ("fixed = 50", "", r"\[entries.ti\] has no 'fixed'"),
        ("fixed = 50", "fixed = 60", r"fixed in \[entries.ti\] is 60; .* its checkpoints, 50"),
        ("[100, 200, 300, 400]", "[200, 100]", r"checkpoints .* are \[200, 100\]"),
        ("[50]", "[]", r"checkpoints .* are \[\]"),
        ("token_steps = 7", "steps = 300", r"last checkpoint .* is 400, and it takes 300 steps"),
        ("token_steps = 7", "token_steps = -1", r"token_steps is -1; it must be at least 0"),
        ("[0, 1, 2]", "[1, 1]", r"seeds .* \[1, 1\]; use at least one, each once"),
        ("[0, 1, 2]", "[-1]", r"seed is -1"),
        ('["cat", "dog"]', '["cow"]', r"Unknown subject 'cow' for \[entries.ti\]; there are: back"),
        ('["backpack", "cat"]', '["cow"]', r"Unknown subject 'cow' for \[pictures\]"),
        ('"textual-inversion"', '"magic"', r"Unknown method 'magic'; known: two-stage, "),
        ("[entries.ti]", '[entries."T I"]', r"'T I' cannot name a file"),
        ("fixed = 50", 'fixed = 50\ncompare_to = "x"', r"is 'x'; it must be another entry: two-st"),
        (
            "fixed = 50",
            'fixed = 50\ncompare_to = "ti"',
            r"compare_to .* is 'ti'; it must be another",
        ),
        (
            "fixed = 50",
            'fixed = 50\ncompare_to = "two-stage"\nleave_one_out = true',
            r"compare_to in \[entries.ti\] is 'two-stage', .*leave_one_out must be the same",
        ),
        (
            "fixed = 50",
            'fixed = 50\ncompare_to = "two-stage"',
            r"is 'two-stage', whose pictures .* extent and leave_one_out must be the same",
        ),
        (
            "seeds = [3]",
            'precision = "fp16"',
            r"precision in the plan is 'fp16': .*'auto', 'fp32' or 'bf16'",
        ),
        ('"miniature"', '"zoo"', r"subjects in the plan is 'zoo': .*'miniature'"),
    ],
)
def test_what_a_plan_may_not_say(tmp_path, old, new, said):
    with pytest.raises(SettingsError, match=said):
        read(tmp_path, change=(old, new))


def test_a_plan_needs_entries_that_are_tables(tmp_path):
    head = 'base = "embedded"\nsubjects = "miniature"\n'
    with pytest.raises(SettingsError, match="no entries"):
        read(tmp_path, f"{head}[entries]\n")
    with pytest.raises(SettingsError, match=r"\[entries.a\] is 3; it must be a table"):
        read(tmp_path, f"{head}[entries]\na = 3\n")
    with pytest.raises(SettingsError, match="no settings file"):
        read_plan(tmp_path / "absent.toml")


OTHERS = {
    "subject": "cat2",
    "noun": "cat",
    "photos": "dreambench",
    "label": "mine",
    "method": "dreambooth",
    "settings": {"lr": 2.0},
    "seed": 9,
    "checkpoints": (200,),
    "fixed": 400,
    "score": "chosen",
    "extent": Extent(),
    "draw": DrawSettings(),
    "base": "sd21",
    "pictures": False,
    "leave_one_out": True,
}


def test_a_key_depends_on_every_input(tmp_path, monkeypatch):
    job, digests = read(tmp_path).jobs[0], {"base": "b", "photos": "p"}
    key = job.key(digests)
    assert len(key) == 64
    assert OTHERS.keys() == {item.name for item in dataclasses.fields(job)}
    keys = {dataclasses.replace(job, **{name: new}).key(digests) for name, new in OTHERS.items()}
    keys |= {job.key({**digests, name: "x"}) for name in digests}
    monkeypatch.setattr(plans, "CODE", plans.CODE + 1)
    keys.add(job.key(digests))
    assert len(keys | {key}) == len(OTHERS) + 4


def test_a_key_does_not_depend_on_the_order_of_keys(tmp_path):
    job = read(tmp_path).jobs[0]
    turned = dataclasses.replace(job, settings=dict(reversed([*job.settings.items()])))
    assert list(turned.settings) != list(job.settings)
    assert job.key({"a": "1", "b": "2"}) == turned.key({"b": "2", "a": "1"})
    other = read(tmp_path, c=("{ token_steps = 7, lr = 1 }", "{ lr = 1.0, token_steps = 7 }"))
    assert other.jobs[0] == job
    assert hash(other.jobs[0]) == hash(job)


def test_what_an_entry_is_compared_to_is_no_part_of_its_jobs(tmp_path):
    as_many = ("extent = { simple = 4 }", "extent = {}")
    plain = read(tmp_path, c=as_many)
    asked = read(tmp_path, c=(as_many[0], 'extent = {}\ncompare_to = "two-stage"'))
    assert asked.jobs == plain.jobs
    assert [entry.compare_to for entry in asked.entries] == [None, "two-stage"]


def test_entries_of_more_pictures_or_other_photos_are_not_compared(tmp_path):
    """Drift, distances of the class and copies are other numbers on fewer pictures."""
    assert [entry.compare_to for entry in read(tmp_path).entries] == [None, None]
    as_many = ("extent = { simple = 4 }", "extent = {}")
    assert [entry.compare_to for entry in read(tmp_path, c=as_many).entries][1] == "two-stage"
    left_out = (as_many[0], "extent = {}\nleave_one_out = true")
    assert [entry.compare_to for entry in read(tmp_path, c=left_out).entries] == [None, None]


def test_a_folder_is_named_in_a_record_but_its_place_is_not(tmp_path):
    there = tmp_path / "my-base"
    there.mkdir()
    (there / "model_index.json").write_text("{}", "utf-8")
    job = read(tmp_path, b=('base = "embedded"', f'base = "{there}"')).jobs[0]
    assert job.base == str(there)
    assert job.plain["base"] == "my-base"
    assert str(tmp_path) not in str(job.plain)


def test_photos_are_told_by_who_they_show_or_by_their_bytes(tmp_path, monkeypatch):
    jobs = read(tmp_path).jobs
    of = {job.subject: plans.photos_digest(job) for job in jobs}
    assert len({*of.values()}) == 3
    assert plans.photos_digest(jobs[0]) == of["backpack"]
    real = dataclasses.replace(jobs[0], photos="dreambench")
    monkeypatch.delenv(plans.DREAMBENCH, raising=False)
    with pytest.raises(SettingsError, match="RAREBOOTH_DREAMBENCH name the folder"):
        plans.photos_digest(real)
    digests = []
    for content in (b"one", b"other"):
        folder = tmp_path / content.decode() / "backpack"
        folder.mkdir(parents=True)
        (folder / "01.jpg").write_bytes(content)
        monkeypatch.setenv(plans.DREAMBENCH, str(folder.parent))
        digests.append(plans.photos_digest(real))
    assert digests[0] != digests[1]
    with pytest.raises(SettingsError, match="'dog'"):
        plans.photos_digest(dataclasses.replace(real, subject="dog"))


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_plans_that_come_with_rarebooth_can_be_read(path):
    if path.stem.startswith("preset"):
        pytest.skip("the grid of a search, which is no plan")
    jobs = plans.read_plan(path).jobs
    assert len({job.key({}) for job in jobs}) == len(jobs)
    for job in jobs:
        find_method(job.method)(**job.settings).check()


def test_a_setting_may_be_the_noun_of_each_subject(tmp_path):
    jobs = plans.read_plan(BENCHMARKS / "ablations.toml").jobs
    words = {
        job.subject: job.settings["initial_word"] for job in jobs if job.label == "from-the-noun"
    }
    assert words["dog"] == "dog"
    assert words["bear_plushie"] == "animal"  # of "stuffed animal", what one token can be
    guidance = {job.draw.guidance for job in jobs if job.label.startswith("guidance")}
    assert guidance == {1.0, 5.0, 7.5, 10.0}


def test_the_ablations_name_what_they_are_compared_to():
    """DreamBooth's variants beside it at the same steps, left-out photos among themselves."""
    entries = {
        entry.label: entry for entry in plans.read_plan(BENCHMARKS / "ablations.toml").entries
    }
    for label in ("dreambooth-text", "dreambooth-1000"):
        assert entries[label].compare_to == "dreambooth"
        assert entries[label].checkpoints == entries["dreambooth"].checkpoints
    assert entries["dreambooth-left-out"].compare_to == "two-stage-left-out"


JUDGED = {1: "7778748f821b2556"}
"""By ``CODE`` the digest of the weights that judge the miniature, which no job's key tells of."""


def test_records_of_other_judges_are_made_anew():
    assets = Path(str(resources.files("rarebooth"))) / "assets"
    found = sha256()
    for name in ("judges/clip", "judges/dino", "examiner"):
        found.update((assets / name / "model.safetensors").read_bytes())
    said = "the judges are others: count CODE up in bench/plan.py, and note their digest here"
    assert JUDGED.get(plans.CODE) == found.hexdigest()[:16], said
