"""The base in the package: a real Stable Diffusion folder, within its budget, given back."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
    StableDiffusionPipeline,
)
from safetensors import safe_open

from rarebooth import artifact, hub, prompts, sample, store
from rarebooth.artifact import Header
from rarebooth.base import Session
from rarebooth.bases import open_base
from rarebooth.bases.sd import StableDiffusion
from rarebooth.class_images import Drawing, Drawn
from rarebooth.examples import examples
from rarebooth.method import Method
from rarebooth.methods import TABLE, find
from rarebooth.run import Run, State
from rarebooth.settings import preset_for, resolve
from rarebooth.subject import Subject, read_folder
from rarebooth.tokens import add_token, word_id

LARGEST = 44_000_000


@pytest.fixture(scope="module")
def folder() -> Path:
    return hub.find("embedded").folder


@pytest.fixture(scope="module")
def base() -> StableDiffusion:
    opened = open_base("embedded")
    assert isinstance(opened, StableDiffusion)
    return opened


@pytest.fixture(scope="module")
def backpack(base: StableDiffusion) -> Subject:
    return read_folder(examples() / "backpack", "backpack", base.size)


def weights_of(base: StableDiffusion) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name}": value.clone()
        for part in ("denoiser", "text")
        for name, value in base.part(part).state_dict().items()
    }


def finish(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_it_keeps_within_its_budget(folder: Path):
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= LARGEST
    for file in folder.rglob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            kinds = {opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
        assert kinds == {"F16"}


def test_text_encoder_is_spelled_as_on_the_hub(folder: Path):
    with safe_open(folder / "text_encoder" / "model.safetensors", framework="pt") as opened:
        names = list(opened.keys())
    assert names
    assert all(name.startswith("text_model.") for name in names)


def test_recipe_says_how_it_was_made(folder: Path):
    recipe = json.loads((folder / "recipe.json").read_text("utf-8"))
    assert recipe["version"] == "embedded-2"
    assert recipe["denoiser"]["pictures"] > 0
    assert recipe["autoencoder"]["pictures"] > 0
    assert recipe["machine"]


def test_words_that_methods_lean_on(base: StableDiffusion):
    tokenizer = base._parts.tokenizer
    for word in ("rare", "sks", "backpack", "photo"):
        word_id(tokenizer, word)
    assert len(tokenizer.encode("(rare)", add_special_tokens=False)) == 3
    base.check_token("(rare)")


@pytest.mark.parametrize("live", [False, True])
def test_every_dreambench_prompt_fits_and_holds_the_token_once(base: StableDiffusion, live: bool):
    import copy

    tokenizer = copy.deepcopy(base._parts.tokenizer)
    token = add_token(tokenizer, "(rare)")
    for prompt in prompts.dreambench(live=live):
        ids = tokenizer(prompt.replace("{}", "(rare) stuffed animal")).input_ids
        assert ids.count(token) == 1
        assert len(ids) <= 24


def test_it_draws_what_diffusers_draws_from_the_same_folder(base: StableDiffusion, folder: Path):
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    asked, seeds = ["a photo of a dog in the snow", "a red vase"], [3, 4]
    answer: Any = pipeline(
        asked,
        num_inference_steps=5,
        guidance_scale=4.0,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="np",
    )
    theirs = answer.images
    with Session(base) as session:
        ours = sample.draw(session, asked, seeds, sampler="ddim", steps=5, guidance=4.0)
    assert np.abs(ours.astype(float) - theirs * 255).max() <= 1.01


def short(name: str) -> Method:
    """A method as the base's preset has it, for two steps a stage."""
    given = {"noun": "backpack", "base": "embedded", "method": name}
    method = resolve(find(name), given, {}, {}, preset_for("embedded")).method
    few: dict[str, Any] = {
        item.name: 2
        for item in fields(method)
        if item.name.endswith(("steps", "class_images", "variants"))
    }
    return replace(method, **few)


def run_of(state: State | None = None) -> Run:
    return Run(0, state, Drawn(drawing=Drawing(steps=2)))


@pytest.mark.parametrize("name", TABLE)
def test_it_is_given_back_bit_for_bit_and_a_subject_survives_its_file(
    name: str, base: StableDiffusion, backpack: Subject, tmp_path: Path
):
    before = weights_of(base)
    with Session(base) as session:
        learnt = finish(short(name).fit(session, [backpack], run_of()))
        session.wear(learnt)
        drawn = sample.draw(session, [f"a photo of {learnt.phrases[0]}"], [1], steps=2)
    after = weights_of(base)
    assert all(torch.equal(before[name], after[name]) for name in before)
    header = Header(base.identity, name, {}, 0, ("backpack",), "a photo of {}", 64, "3")
    artifact.save(tmp_path / "subject.safetensors", learnt, header)
    with Session(base) as session:
        session.wear(artifact.load(tmp_path / "subject.safetensors").delta)
        again = sample.draw(session, [f"a photo of {learnt.phrases[0]}"], [1], steps=2)
    assert np.array_equal(drawn, again)


@pytest.mark.parametrize("name", TABLE)
def test_resume_is_bit_exact(name: str, base: StableDiffusion, backpack: Subject, tmp_path: Path):
    """Stopped within the last stage and continued from disk, next to one that ran through."""
    stage = find(name).stages[-1]
    with Session(base) as session:
        straight = finish(short(name).fit(session, [backpack], run_of()))
    with Session(base) as session:
        for step in short(name).fit(session, [backpack], run_of()):
            if (step.stage, step.done) == (stage, 1):
                store.save_state(tmp_path, step.state())
                break
    state, damaged = store.load_state(tmp_path)
    assert not damaged
    with Session(base) as session:
        resumed = finish(short(name).fit(session, [backpack], run_of(state)))
    for file, learnt in (("straight", straight), ("resumed", resumed)):
        header = Header(base.identity, name, {}, 0, ("backpack",), "a photo of {}", 64, "3")
        artifact.save(tmp_path / file, learnt, header)
    assert (tmp_path / "straight").read_bytes() == (tmp_path / "resumed").read_bytes()
