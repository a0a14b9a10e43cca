"""The two-stage method against its paper's recipe, written out as a plain loop."""

from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from rarebooth.base import Session
from rarebooth.bases import open_base
from rarebooth.methods.two_stage import TwoStage
from rarebooth.run import Run, draw_batch, generator_for
from tiny import build_folder
from toy_base import ToyBase, toy_subject

SMALL = TwoStage(token_steps=4, token_lr=0.05, steps=3, lr=1e-3, batch=2)


def learn(method, base, seed=0, watch=lambda session, step: None):
    with Session(base) as session:
        for step in method.fit(session, [toy_subject(base.size)], Run(seed)):
            watch(session, step)
        return step.snapshot()  # pyright: ignore[reportPossiblyUnboundVariable]


def test_the_defaults_are_the_papers():
    method = TwoStage()
    assert {item.name: getattr(method, item.name) for item in fields(method)} == {
        "token": "(rare)",
        "initial_word": "rare",
        "form": "adjective",
        "prompt": "a photo of {}",
        "token_steps": 100,
        "token_lr": 5e-4,
        "token_batch": 4,
        "steps": 400,
        "lr": 5e-6,
        "batch": 1,
        "accumulate": 1,
        "weight_decay": 1e-2,
        "clip": 1.0,
        "prior": False,
        "prior_weight": 1.0,
        "class_images": 200,
        "class_prompt": "a photo of {}",
        "constraint": "none",
        "constraint_weight": 1e-7,
        "train_text": False,
        "rank": 0,
        "alpha": 4.0,
        "dora": False,
    }


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_it_is_the_plain_loop_of_the_paper(prediction, tmp_path):
    """The same draws through diffusers' scheduler, torch's plain AdamW and no Session."""
    base = open_base(str(build_folder(tmp_path / "tiny", prediction=prediction)), device="cpu")
    method = replace(SMALL, clip=0.3, weight_decay=2.0, accumulate=2)
    ours = learn(method, base, seed=6)

    scheduler: Any = DDPMScheduler.from_config(dict(base.scheduler_config))
    posterior = base.posterior(toy_subject(base.size).images)
    vector = base.word("rare").requires_grad_()

    def step_loss(stage, step, count):
        batch = draw_batch(base, 3, count)(generator_for(6, stage, step))
        clean = posterior.sample(batch.photo, batch.encoding)
        noisy = scheduler.add_noise(clean, batch.noise, batch.timestep)
        condition = base.condition(["a photo of (rare) dog"], {"(rare)": vector})
        answer = base.denoise(noisy, batch.timestep, condition.expand(count, -1, -1))
        goal = batch.noise
        if prediction == "v_prediction":
            goal = scheduler.get_velocity(clean, batch.noise, batch.timestep)
        return torch.nn.functional.mse_loss(answer, goal)

    optimiser = torch.optim.AdamW([vector], lr=0.05, weight_decay=0, foreach=False)
    for step in range(1, 5):
        optimiser.zero_grad()
        step_loss("token", step, 4).backward()
        optimiser.step()
    vector.requires_grad_(False)
    unet = base.part("denoiser").requires_grad_()
    weights = list(unet.parameters())
    optimiser = torch.optim.AdamW(weights, lr=1e-3, weight_decay=2.0, foreach=False)
    for step in range(1, 4):
        optimiser.zero_grad()
        step_loss("denoiser", step, 4).backward()
        torch.nn.utils.clip_grad_norm_(weights, 0.3)
        optimiser.step()

    torch.testing.assert_close(ours.tokens["(rare)"], vector, rtol=0, atol=1e-5)
    assert ours.phrases == ("(rare) dog",)
    assert ours.weights.keys() == {f"denoiser.{name}" for name, _ in unet.named_parameters()}
    moved = apart = 0.0
    for name, weight in unet.named_parameters():
        change = weight.detach() - base.original("denoiser")(name)
        moved += float(change.square().sum())
        apart += float((ours.weights[f"denoiser.{name}"].expand() - change).square().sum())
    # Adam turns rounding errors of gradients near zero into whole steps of a few weights.
    assert apart < 1e-4 * moved
    assert all(bool(change.expand().any()) for change in ours.weights.values())


def test_stage_one_moves_one_vector_and_stage_two_leaves_it_alone(tiny_base):
    base = tiny_base()
    parts = base._parts

    def content():
        modules = {"unet": parts.unet, "vae": parts.vae(), "text": parts.text_encoder()}
        return {
            f"{name}.{key}": tensor.clone()
            for name, module in modules.items()
            for key, tensor in module.state_dict().items()
        }

    before = content()
    vectors = {"token": [base.word("rare")], "denoiser": []}

    def watch(session, step):
        now = content()
        vectors[step.stage].append(session.tokens["(rare)"].detach().clone())
        moved = {key for key in now if not torch.equal(now[key], before[key])}
        if step.stage == "token":
            assert moved == set()
        else:
            assert {key.partition(".")[0] for key in moved} == {"unet"}
            assert moved == {key for key in before if key.startswith("unet.")}

    learn(SMALL, base, watch=watch)
    token = vectors["token"]
    assert not any(torch.equal(one, other) for one, other in pairwise(token))
    assert all(torch.equal(vector, token[-1]) for vector in vectors["denoiser"])


def test_stage_two_reads_the_learnt_adjective():
    """With another adjective the same draws must move the network elsewhere."""
    one = learn(SMALL, ToyBase())
    other = learn(replace(SMALL, token_lr=0.5), ToyBase())
    name = "denoiser.look.weight"
    assert not torch.equal(one.weights[name].expand(), other.weights[name].expand())


def test_an_adjective_may_also_stay_untrained():
    base = ToyBase()
    delta = learn(replace(SMALL, token_steps=0), base)
    assert torch.equal(delta.tokens["(rare)"], base.word("rare"))
    assert delta.weights


def test_batches_have_the_sizes_that_were_asked_for():
    sizes = {}
    method = replace(SMALL, token_batch=5, batch=2, accumulate=3)
    learn(
        method,
        ToyBase(),
        watch=lambda _, step: sizes.setdefault(step.stage, len(step.batch.photo)),
    )
    assert sizes == {"token": 5, "denoiser": 6}


def test_accumulated_batches_learn_what_one_large_batch_learns():
    one = learn(replace(SMALL, batch=6), ToyBase())
    parts = learn(replace(SMALL, batch=2, accumulate=3), ToyBase())
    for name, change in one.weights.items():
        other = parts.weights[name].expand()
        torch.testing.assert_close(other, change.expand(), rtol=0, atol=2e-5)


def test_an_empty_first_word_is_a_random_vector_as_large_as_a_word():
    def first(seed, **changed):
        method = replace(SMALL, token_steps=0, steps=1, **changed)
        return learn(method, ToyBase(), seed).tokens["(rare)"]

    drawn = first(0, initial_word="")
    assert torch.equal(drawn, first(0, initial_word=""))
    assert not torch.allclose(drawn, first(1, initial_word=""))
    word = first(0)
    assert not torch.allclose(drawn, word, atol=0.1)
    assert 0.2 < (drawn.norm() / word.norm()).item() < 5
