"""A setting that was given and does nothing is said so, and no other."""

import re
from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image

from bench_jobs import PLAN
from rarebooth import doctor
from rarebooth.bench import running
from rarebooth.cli import run
from rarebooth.effects import idle
from rarebooth.methods import find, names
from rarebooth.settings import preset_for, resolve

NEEDED = {"noun": "dog", "base": "sd21"}
PRESET = preset_for("sd21")

# What makes each condition hold, and what does not: written apart from what the methods declare.
ON = {"prior": True, "augment": True, "rank": 8, "constraint": "l2", "initial_word": ""}
OFF = {"prior": False, "augment": False, "rank": 0, "constraint": "none", "initial_word": "cat"}
SAID = {
    "prior": "prior is on",
    "augment": "augment is on",
    "rank": "rank is not 0",
    "constraint": "constraint is not none",
    "initial_word": 'initial_word is ""',
}
CONDITIONS = [
    pytest.param(name, item, other, id=f"{name}-{item.name}")
    for name in names()
    for item in fields(find(name))
    for other in item.metadata["where"]
]


def said(method, flags, environment=None, file=None, preset=PRESET):
    kind = find(method)
    return idle(resolve(kind, {**NEEDED, **flags}, environment or {}, file or {}, preset))


@pytest.mark.parametrize(("method", "item", "other"), CONDITIONS)
def test_a_setting_whose_condition_is_not_met_is_named(method, item, other):
    given, off = {item.name: item.default}, {other: OFF[other]}
    assert said(method, {**given, other: ON[other]}) == []
    condition = next(each for each in fields(find(method)) if each.name == other)
    if other == "rank" and condition.metadata["least"] == 1:
        return  # always adapters: the condition cannot fail
    flag = f"--{item.name.replace('_', '-')}"
    expected = [f"{flag} has no effect here: it counts only where {SAID[other]}."]
    assert said(method, given | off) == expected
    assert said(method, off, environment={item.name: str(item.default)}) == expected
    assert said(method, off, file=given) == expected
    assert said(method, off) == [], "nobody gave it"
    from_preset = replace(PRESET, methods={method: given})
    assert said(method, off, preset=from_preset) == [], "the preset gave it, and nobody asked"


def test_all_conditions_are_covered():
    assert {other for *_, other in (each.values for each in CONDITIONS)} == ON.keys()


def test_several_are_said_in_the_order_of_the_settings():
    sentences = said("dreambooth", {"class_images": 9, "prior_weight": 2.0, "prior": False})
    assert [sentence.split()[0] for sentence in sentences] == ["--prior-weight", "--class-images"]


@pytest.mark.parametrize(
    ("flags", "idles"),
    [
        ({"choose": "held-out", "steps": 200, "checkpoint_every": 200}, True),
        ({"choose": "last", "steps": 100}, True),
        ({"choose": "held-out", "steps": 201, "checkpoint_every": 200}, False),
        ({"steps": 100}, False),
    ],
)
def test_a_single_checkpoint_leaves_no_choice(flags, idles):
    one = "--choose has no effect here: the run leaves one checkpoint to choose from."
    assert said("dreambooth", flags) == ([one] if idles else [])


@pytest.mark.parametrize(
    ("method", "flags", "expected"),
    [
        ("two-stage", {"patience": 9, "probe_every": 50, "steps": 400}, ["--patience"]),
        ("two-stage", {"patience": 9, "probe_every": 40, "steps": 401}, []),
        ("dreambooth", {"split_batches": True, "batch": 1, "prior": False}, ["--split-batches"]),
        ("dreambooth", {"split_batches": True, "batch": 1, "prior": True}, []),
        ("two-stage", {"split_batches": True, "batch": 1, "token_batch": 2}, []),
        (
            "two-stage",
            {"low_memory": True, "gradient_checkpointing": True},
            ["--gradient-checkpointing"],
        ),
        ("two-stage", {"low_memory": True}, []),
        ("two-stage", {"token_steps": 0}, []),
        ("two-stage", {"token_steps": 0, "token_lr": 1e-3}, ["--token-lr"]),
        (
            "two-stage",
            {"token_steps": 0, "token_batch": 2, "split_batches": True, "batch": 1},
            ["--token-batch", "--split-batches"],
        ),
        ("custom-diffusion", {"noun": "dog, cat", "choose": "held-out"}, ["--choose"]),
        ("custom-diffusion", {"noun": "dog, cat", "choose": "last"}, []),
    ],
)
def test_settings_of_the_run_that_do_nothing_are_named(method, flags, expected):
    sentences = said(method, {"checkpoint_every": 50, **flags})
    assert [sentence.split(" has no effect here: ")[0] for sentence in sentences] == expected


def test_it_is_said_once_before_work_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "photos" / "a.png")
    words = "train photos --noun dog --base sd21 --prior-weight 2 --dry-run"
    assert run(words.split()) == 0
    assert capsys.readouterr().err.count("--prior-weight has no effect here") == 1
    assert run(f"{words} --prior true".split()) == 0
    assert "no effect" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--executor inline --workers 2 --address here", ["--workers", "--address"]),
        ("--executor pool --workers 2 --address here", ["--address"]),
        ("--executor ray --workers 2 --address here", ["--workers"]),
        ("--executor pool --workers 2", []),
    ],
)
def test_a_benchmark_says_what_has_no_effect_before_it_starts(
    words, expected, tmp_path, monkeypatch, capsys
):
    ours = "[entries.ours]\nsettings = {prior_weight = 2.0}"
    (tmp_path / "plan.toml").write_text(PLAN.replace("[entries.ours]", ours), "utf-8")
    monkeypatch.setattr(running, "rehearse", lambda *_, **__: iter(["rehearsed"]))
    assert run(["bench", str(tmp_path / "plan.toml"), *words.split(), "--dry-run"]) == 0
    told = capsys.readouterr()
    assert re.findall("^(--[a-z-]+) has no effect here", told.err, re.MULTILINE) == expected
    assert told.err.count("[entries.ours]: --prior-weight has no effect here") == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", []),
        ("--json", []),
        ("--quick --pictures 3 --base ours", ["--base", "--quick", "--pictures"]),
    ],
)
def test_doctor_says_what_goes_with_an_exam_only(words, expected, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: iter(()))
    assert run(["doctor", *words.split()]) == 0
    said = re.findall("^(--[a-z-]+) has no effect here", capsys.readouterr().err, re.MULTILINE)
    assert said == expected
