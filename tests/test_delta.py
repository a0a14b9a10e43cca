"""Rounding a change to 16 bits: how far it can be off, and what it must keep exactly."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rarebooth.delta import Change

HALF_SPACING = 2.0**-12
"""Half the distance of fp16 numbers just below 1: the largest rounding error at scale 1."""


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    exponent=st.integers(-30, 12),
    spread=st.sampled_from([0.0, 1.0, 6.0]),
    shape=st.sampled_from([(1,), (7, 3), (2, 3, 3, 3)]),
)
def test_rounding_error_is_bounded_by_the_scale(seed, exponent, spread, shape):
    generator = torch.Generator().manual_seed(seed)
    size = torch.randn(shape, generator=generator) * spread
    change = torch.randn(shape, generator=generator) * torch.exp2(size + exponent)
    rounded = Change.between(change, torch.zeros(shape))
    assert rounded.scale == float(change.abs().max())
    assert float(rounded.values.abs().max()) == 1.0
    error = (rounded.expand().double() - change.double()).abs().max()
    assert float(error) <= rounded.scale * HALF_SPACING * 1.001


def test_the_largest_change_is_kept_exactly():
    change = torch.tensor([0.123456789, -0.987654321, 1e-6])
    rounded = Change.between(change, torch.zeros(3))
    assert rounded.expand()[1] == change[1]


@pytest.mark.parametrize("shape", [(3, 2), (0,), ()])
def test_no_change_is_exactly_zero(shape):
    weight = torch.full(shape, 0.1)
    rounded = Change.between(weight, weight.clone())
    assert rounded.scale == 0.0
    assert rounded.expand().shape == weight.shape
    assert not rounded.expand().any()


def test_the_change_is_tuned_minus_original_in_32_bits():
    original = torch.tensor([1000.0, 1.0])
    tuned = original + torch.tensor([0.0, 2.0**-20])
    rounded = Change.between(tuned, original.double())
    assert rounded.expand().tolist() == [0.0, 2.0**-20]


def test_types_and_shapes():
    weight = torch.randn(2, 3, requires_grad=True)
    rounded = Change.between(weight, torch.zeros(2, 3, dtype=torch.float16))
    assert rounded.values.dtype == torch.float16
    assert not rounded.values.requires_grad
    assert isinstance(rounded.scale, float)
    assert rounded.expand().dtype == torch.float32


def test_a_change_does_not_follow_the_weight_it_was_formed_from():
    weight = torch.ones(4, dtype=torch.float16)
    rounded = Change.between(weight, torch.zeros(4, dtype=torch.float16))
    weight.fill_(5.0)
    assert rounded.expand().tolist() == [1.0] * 4


def test_a_scale_survives_32_bits():
    # The file keeps the scale as fp32: a picture before saving must equal the one after.
    rounded = Change.between(torch.tensor([0.1, 0.3]), torch.tensor([0.05, 1e-9]))
    assert float(torch.tensor(rounded.scale, dtype=torch.float32)) == rounded.scale
    assert math.isfinite(rounded.scale)
