"""Low-rank adapters against PEFT's own: what is kept of them, and what is left in the base."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from peft.tuners.lora import LoraLayer

from rarebooth import sample
from rarebooth.adapters import Shape, adapt, adapter_size
from rarebooth.base import Session
from rarebooth.delta import Delta
from rarebooth.run import generator_for

PLAIN = Shape(rank=4, alpha=10.0)
DORA = Shape(rank=3, alpha=10.0, dora=True)
GATED = Shape(rank=2, alpha=1.0, gates=True)
PARTS = ("denoiser", "text")
PROMPTS = ["a photo of sks dog on the beach", "a cat"]

every_shape = pytest.mark.parametrize("shape", [PLAIN, DORA, GATED], ids=["plain", "dora", "gates"])


def trained(session, part, shape, deviation=0.02):
    """Adapters whose matrices, and norms, are moved somewhere."""
    adapters = adapt(session, part, shape, generator_for(1, part))
    rng = generator_for(2, part)
    with torch.no_grad():
        for weight in adapters.weights.values():
            weight.add_(deviation * torch.randn(weight.shape, generator=rng))
    return adapters


def drawn(session):
    return sample.draw(session, PROMPTS, [1, 2], steps=4).astype(int)


def look(base):
    """All that could tell a borrowed module from one that was never touched."""
    return {
        part: (
            repr(base.part(part)),
            [(name, type(module)) for name, module in base.part(part).named_modules()],
            set(vars(base.part(part))),
            {name: value.clone() for name, value in base.part(part).state_dict().items()},
            [name for name, weight in base.part(part).named_parameters() if weight.requires_grad],
        )
        for part in PARTS
    }


def require_same_look(found, before):
    for part in PARTS:
        *shape, weights, trainable = found[part]
        *shape_before, weights_before, _ = before[part]
        assert shape == shape_before
        assert trainable == []
        assert weights.keys() == weights_before.keys()
        assert all(torch.equal(weights[name], weights_before[name]) for name in weights)


@every_shape
@pytest.mark.parametrize("part", PARTS)
def test_what_is_kept_gives_the_weights_that_peft_merges(shape, part, tiny_base):
    base = tiny_base()
    with Session(base) as session:
        change = trained(session, part, shape).change()
        merged = copy.deepcopy(base.part(part))
    expected = {}
    layers: dict[str, Any] = dict(merged.named_modules())
    for name in [name for name, layer in layers.items() if isinstance(layer, LoraLayer)]:
        layers[name].merge()
        expected[f"{part}.{name}.weight"] = layers[name].get_base_layer().weight.detach()
    assert change.keys() == expected.keys()
    assert change
    for name, low_rank in change.items():
        original = base.original(part)(name.partition(".")[2])
        torch.testing.assert_close(low_rank.applied(original), expected[name], rtol=0, atol=1e-6)
        assert (expected[name] - original).abs().max() > 1e-3


@every_shape
def test_merged_weights_draw_what_pefts_layers_draw(shape, tiny_base):
    base = tiny_base()
    with Session(base) as session:
        untouched = drawn(session)
        change = {}
        for part in PARTS:
            change |= trained(session, part, shape, 0.1).change()
        layered = drawn(session)
    with Session(base) as session:
        session.wear(Delta(("sks dog",), weights=change))
        merged = drawn(session)
    assert np.abs(merged - layered).max() <= 1
    assert np.abs(merged - untouched).max() > 10


@every_shape
def test_nothing_changes_before_the_first_step(shape, tiny_base):
    base = tiny_base()
    noisy = torch.randn(2, *base.latent_shape, generator=torch.Generator().manual_seed(0))
    timestep = torch.tensor([10, 900])

    def answers(session):
        with torch.no_grad():
            condition = session.condition(PROMPTS)
            return condition, base.denoise(noisy, timestep, condition)

    with Session(base) as session:
        before = answers(session)
        for part in PARTS:
            adapters = adapt(session, part, shape, generator_for(1, part))
            downs = [w for name, w in adapters.weights.items() if name.endswith("down")]
            ups = [w for name, w in adapters.weights.items() if name.endswith("up")]
            assert float(torch.cat([w.detach().flatten() for w in downs]).std()) == pytest.approx(
                1 / shape.rank, rel=0.1
            )
            assert not any(bool(weight.any()) for weight in ups)
        for found, expected in zip(answers(session), before, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@every_shape
@pytest.mark.parametrize("part", PARTS)
def test_the_size_that_is_told_is_the_count_of_trained_numbers(shape, part, tiny_base):
    base = tiny_base()
    told = adapter_size(base, part, shape)
    with Session(base) as session:
        adapters = adapt(session, part, shape, generator_for(1))
        assert told == sum(weight.numel() for weight in adapters.weights.values())
        trainable = [w for w in base.part(part).parameters() if w.requires_grad]
        assert {id(w) for w in trainable} == {id(w) for w in adapters.weights.values()}
    assert told > 0


class Stop(Exception):
    """Training fails."""


@every_shape
@pytest.mark.parametrize("fails", [False, True])
def test_the_base_is_given_back_with_the_modules_it_had(shape, fails, tiny_base):
    base = tiny_base()
    before, randomness = look(base), torch.get_rng_state()
    try:
        with Session(base) as session:
            weights = [w for part in PARTS for w in trained(session, part, shape).weights.values()]
            noise = torch.zeros(1, *base.latent_shape)
            told = session.condition(["a dog"])
            base.denoise(noise, torch.tensor([5]), told).square().mean().backward()
            assert all(weight.grad is not None for weight in weights)
            assert repr(base.part("text")) != before["text"][0]
            if fails:
                raise Stop
    except Stop:
        pass
    require_same_look(look(base), before)
    assert torch.equal(torch.get_rng_state(), randomness)
