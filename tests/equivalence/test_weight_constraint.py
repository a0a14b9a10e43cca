"""The weight constraint of Zhao et al. 2023: the loss plus the distance from the base's weights."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from reference import Loop

from rarebooth.base import Session, denoising_loss
from rarebooth.methods.custom_diffusion import CustomDiffusion
from rarebooth.methods.dreambooth import DreamBooth
from rarebooth.methods.imagic import Imagic
from rarebooth.methods.two_stage import TwoStage
from rarebooth.run import Run
from toy_base import ToyBase, toy_subject

NAMES = [name for name, _ in ToyBase().part("denoiser").named_parameters()]
SLOPES = {"l1": lambda apart: apart.sign(), "l2": lambda apart: 2 * apart}
LR = 1e-2
SMALL: dict[str, Any] = {"steps": 12, "lr": LR, "weight_decay": 0.0}
METHODS = [
    DreamBooth(**SMALL, prior=False),
    TwoStage(**SMALL, token_steps=2),
    Imagic(**SMALL, embedding_steps=2),
    CustomDiffusion(**SMALL, prior=False, augment=False),
]

every_constraint = pytest.mark.parametrize("constraint", SLOPES)


def learn(method, base):
    """All steps, and the denoiser's weights after the last."""
    with Session(base) as session:
        steps = list(method.fit(session, [toy_subject(base.size)], Run(2)))
        return steps, {n: w.detach().clone() for n, w in base.part("denoiser").named_parameters()}


@every_constraint
@pytest.mark.parametrize("count", [1, 4])
def test_the_gradient_that_is_added_is_the_distances(constraint, count):
    """Once, however many samples a batch has; and none where a weight is where it was."""
    base = ToyBase()
    method = DreamBooth(constraint=constraint, constraint_weight=0.3)
    rng = torch.Generator().manual_seed(0)
    with Session(base) as session:
        weights = session.tune("denoiser")
        moves = {}
        with torch.no_grad():
            for name, weight in weights.items():
                moves[name] = torch.randint(-1, 2, weight.shape, generator=rng) * 0.125
                weight.add_(moves[name])
        held = method.held(session, weights, lambda batch: torch.zeros(count))
        losses = held(None)  # pyright: ignore[reportArgumentType]
        assert losses.shape == (count,)
        losses.mean().backward()
        power = {"l1": 1, "l2": 2}[constraint]
        distance = sum(float(move.abs().pow(power).sum()) for move in moves.values())
        assert float(losses.detach().mean()) == pytest.approx(0.3 * distance, rel=1e-5)
        for name, weight in weights.items():
            expected = 0.3 * SLOPES[constraint](moves[name])
            torch.testing.assert_close(weight.grad, expected, rtol=1e-5, atol=1e-6)


@every_constraint
def test_training_is_the_plain_loop_with_that_gradient_added_by_hand(constraint):
    method = DreamBooth(
        steps=4,
        lr=LR,
        prior=False,
        batch=1,
        accumulate=2,
        constraint=constraint,
        constraint_weight=0.05,
    )
    steps, found = learn(method, ToyBase())
    base = ToyBase()
    photos, told = base.posterior(toy_subject().images), base.condition(["a photo of sks dog"], {})
    weights = dict(base.part("denoiser").named_parameters())
    loop = Loop(weights, LR, method.weight_decay, method.clip)

    def add() -> None:
        for name, weight in weights.items():
            assert weight.grad is not None
            weight.grad += 0.05 * SLOPES[constraint](weight.detach() - loop.start[name])

    for step in steps:
        told_each = told.detach().expand(2, -1, -1)
        loop.step(denoising_loss(base, photos, step.batch, told_each).mean(), correct=add)
    loop.require_same_end(found)
    _, free = learn(replace(method, constraint="none"), ToyBase())
    with pytest.raises(AssertionError):
        loop.require_same_end(free)


@every_constraint
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_huge_weight_keeps_the_weights_at_home(constraint, method):
    home = {name: ToyBase().original("denoiser")(name) for name in NAMES}

    def furthest(method):
        _, weights = learn(method, ToyBase())
        return max(float((weights[name] - home[name]).abs().max()) for name in NAMES)

    assert furthest(method) > 4 * LR
    assert 0 < furthest(replace(method, constraint=constraint, constraint_weight=1e6)) < 2 * LR
