"""The catalogue of methods: what it says is what the methods do, and the page is what it says."""

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from rarebooth.base import Session
from rarebooth.catalogue import cost, entry, shown, trained_parts
from rarebooth.class_images import Drawing, Drawn
from rarebooth.cli import run
from rarebooth.method import Method, setting
from rarebooth.methods import TABLE, find, names
from rarebooth.methods.custom_diffusion import CustomDiffusion
from rarebooth.methods.two_stage import TwoStage
from rarebooth.methods_page import page
from rarebooth.run import Run
from rarebooth.settings import preset_for
from toy_base import toy_subject

PAGE = Path(__file__).parent.parent / "docs" / "methods.md"

# By hand from the recipes: updates times photos, twice where a class image stands beside each.
COSTS = {
    "two-stage": ([("token", 100, 4), ("denoiser", 400, 1)], 100 * 4 + 400, 0),
    "textual-inversion": ([("token", 3000, 4)], 3000 * 4, 0),
    "dreambooth": ([("denoiser", 800, 1)], 800 * 2, 200),
    "custom-diffusion": ([("attention", 300, 4)], 300 * 4 * 2, 200),
    "hiper": ([("tail", 1000, 1)], 1000, 0),
    "imagic": ([("embedding", 1000, 1), ("denoiser", 1500, 1)], 1000 + 1500, 0),
    "pivotal-lora": ([("token", 250, 4), ("adapters", 1000, 1)], 250 * 4 + 1000, 0),
    "dreambooth-lora": ([("denoiser", 500, 1)], 500, 0),
}
WITH_PRIOR = [
    (name, prior)
    for name in TABLE
    for prior in ((False, True) if hasattr(find(name)(), "prior") else (None,))
]

every_method = pytest.mark.parametrize("name", TABLE)


def small(name, prior):
    """A method with few updates, in batches of several pieces."""
    kind = find(name)
    given = {}
    for item in fields(kind):
        if item.name.endswith(("steps", "accumulate", "class_images", "variants")):
            given[item.name] = 2
        elif item.name.endswith("batch"):
            given[item.name] = 3
    if prior is not None:
        given["prior"] = prior
    if name == "custom-diffusion":
        given["initial_word"] = "sks"
    return kind(**given)


@every_method
def test_the_cost_is_the_recipes(name):
    stages, samples, class_images = COSTS[name]
    found = cost(find(name)())
    assert [(stage.name, stage.steps, stage.photos) for stage in found.stages] == stages
    assert (found.samples, found.class_images) == (samples, class_images)


@pytest.mark.parametrize(("name", "prior"), WITH_PRIOR)
def test_so_many_samples_pass_the_denoiser(name, prior, tiny_base, monkeypatch):
    base, method = tiny_base(), small(name, prior)
    denoise = base.denoise
    passed, drawn = [], []

    def counted(noisy, timestep, condition):
        if torch.is_grad_enabled():
            passed.append(len(noisy))
        return denoise(noisy, timestep, condition)

    class Counted(Drawn):
        def __call__(self, session, prompt, count):
            drawn.append(count)
            return super().__call__(session, prompt, count)

    monkeypatch.setattr(base, "denoise", counted)
    counts = {}
    with Session(base) as session:
        subject = toy_subject(base.size, count=3)
        for step in method.fit(session, [subject], Run(0, None, Counted(drawing=Drawing(steps=1)))):
            counts[step.stage] = counts.get(step.stage, 0) + sum(passed)
            passed.clear()
    expected = cost(method)
    assert counts == {stage.name: stage.samples for stage in expected.stages}
    assert expected.samples == sum(counts.values())
    assert expected.class_images == sum(drawn)


class Silent(Method):
    """Its settings say neither how long it trains nor on how much."""

    name, paper, summary = "silent", "A paper without a year", "nothing"
    changes, stages = frozenset({"token"}), ("only",)
    strength: float = setting(1.0, "Strength.", source="a test", above=0)

    def fit(self, session, subjects, run):
        raise NotImplementedError


def test_what_settings_do_not_say_is_not_known():
    found = cost(Silent())
    assert (found.stages[0].steps, found.stages[0].photos, found.samples) == (None, None, None)
    assert shown(found.samples) == "-"


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (TwoStage(), "a new word, all of the U-Net"),
        (TwoStage(train_text=True), "a new word, all of the U-Net and the text encoder"),
        (TwoStage(rank=4), "a new word, adapters on the U-Net"),
        (CustomDiffusion(), "a new word, part of the U-Net"),
        (find("imagic")(), "an encoded prompt, all of the U-Net"),
        (find("hiper")(), "an encoded prompt"),
    ],
)
def test_what_is_trained_in_words(method, words):
    assert trained_parts(method) == words


def test_a_setting_tells_its_limits_where_it_counts_and_what_the_preset_makes_of_it():
    settings = {setting.name: setting for setting in entry("two-stage").settings}
    assert settings["steps"].limits == "at least 1"
    assert settings["lr"].limits == "greater than 0"
    assert settings["form"].limits == "one of adjective, noun"
    assert settings["prior_weight"].only == "only where prior is on"
    assert settings["constraint_weight"].only == "only where constraint is not none"
    assert settings["alpha"].only == "only where rank is not 0"
    assert settings["prompt"].only == settings["prompt"].limits == ""
    noise = {setting.name: setting for setting in entry("pivotal-lora").settings}["initial_norm"]
    assert noise.only == 'only where initial_word is ""'
    preset = preset_for("embedded").methods["two-stage"]
    assert {n: s.embedded for n, s in settings.items() if s.embedded is not None} == preset


@every_method
def test_a_method_is_cited_by_authors_and_year(name):
    found = entry(name)
    author, _, rest = found.cited.partition(" ")
    assert found.paper.startswith(author)
    assert rest.endswith(")")
    assert len(found.cited) < 40


def test_a_paper_of_another_form_is_cited_whole():
    one = replace(entry("hiper"), paper="A paper without a year")
    assert one.cited == "A paper without a year"


def test_the_page_is_what_the_methods_say():
    assert PAGE.read_text("utf-8") == page(), "docs/methods.md is stale: run `make docs`"


def test_the_list_has_one_line_for_each_method(capsys):
    assert run(["methods"]) == 0
    heading, *lines = capsys.readouterr().out.partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines] == [*names()]
    assert heading.index("samples") == lines[0].index("800")
    assert lines[0].endswith("Zeng, Suganuma, Okatani (2024)")


def test_a_method_is_shown_alike_by_its_name_and_in_the_help_of_train(capsys):
    assert run(["methods", "dreambooth"]) == 0
    shown_alone = capsys.readouterr().out
    assert (
        "Stage denoiser: updates 800, photos in each 1, samples through the U-Net 1600."
        in shown_alone
    )
    steps = "  --steps, --max_train_steps\n      Updates. Default 800.\n      At least 1.\n"
    assert steps in shown_alone
    assert "Only where prior is on.\n" in shown_alone
    assert run(["train", "--method", "dreambooth", "--help"]) == 0
    assert capsys.readouterr().out.endswith(shown_alone)


def test_an_unknown_method_is_refused_with_those_that_are_known(capsys):
    assert run(["methods", "dreambot"]) == 2
    assert "Unknown method 'dreambot'; known: two-stage, " in capsys.readouterr().err


def test_json_holds_all_methods_or_one(capsys):
    assert run(["methods", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed] == [*names()]
    assert run(["methods", "custom-diffusion", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one == next(each for each in listed if each["name"] == "custom-diffusion")
    assert one["cost"]["samples"] == 2400
    rate = next(each for each in one["settings"] if each["name"] == "lr")
    assert rate["default"] == 8e-5
    assert rate["limits"] == "greater than 0"


def test_help_imports_nothing_heavy():
    asked = [sys.executable, "-X", "importtime", "-m", "rarebooth", "methods", "--help"]
    result = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert not imported & {"torch", "diffusers", "transformers", "matplotlib", "numpy"}
