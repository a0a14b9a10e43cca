"""The noising process: inverse to itself, and the same arithmetic as diffusers'."""

from typing import Any, cast, get_args

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from rarebooth.errors import BaseModelError
from rarebooth.process import Prediction, Process, scaled_linear

predictions = pytest.mark.parametrize("prediction", get_args(Prediction))


def ddpm(prediction) -> Any:
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        prediction_type=prediction,
    )


def pair(seed, timesteps):
    generator = torch.Generator().manual_seed(seed)
    shape = (len(timesteps), 4, 3, 5)
    clean = torch.randn(shape, generator=generator, dtype=torch.float64)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    return clean, noise, torch.tensor(timesteps)


@predictions
@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    timesteps=st.lists(st.integers(0, 999), min_size=1, max_size=4),
)
def test_split_inverts_add_and_goal(prediction, seed, timesteps):
    process = Process(scaled_linear().double(), prediction)
    clean, noise, timestep = pair(seed, timesteps)
    noisy = process.add(clean, noise, timestep)
    found = process.split(noisy, process.goal(clean, noise, timestep), timestep)
    torch.testing.assert_close(found, (clean, noise), rtol=0, atol=1e-9)


@predictions
def test_every_timestep_is_noised_as_diffusers_does(prediction):
    process, reference = Process(scaled_linear(), prediction), ddpm(prediction)
    clean, noise, timestep = pair(0, list(range(1000)))
    clean, noise = clean.float(), noise.float()
    assert process.timesteps == 1000
    torch.testing.assert_close(
        process.add(clean, noise, timestep), reference.add_noise(clean, noise, timestep)
    )
    goal = process.goal(clean, noise, timestep)
    if prediction == "epsilon":
        assert torch.equal(goal, noise)
    else:
        torch.testing.assert_close(goal, reference.get_velocity(clean, noise, timestep))


def test_a_batch_noises_every_picture_to_its_own_timestep():
    process = Process(scaled_linear(), "v_prediction")
    clean, noise, timestep = pair(3, [999, 0, 500])
    together = process.add(clean, noise, timestep), process.goal(clean, noise, timestep)
    for index in range(3):
        row = slice(index, index + 1)
        alone = clean[row], noise[row], timestep[row]
        assert torch.equal(process.add(*alone), together[0][row])
        assert torch.equal(process.goal(*alone), together[1][row])


def test_schedule_equals_diffusers():
    assert torch.equal(scaled_linear(), ddpm("epsilon").alphas_cumprod)


def test_schedule_keeps_the_ends_that_stable_diffusion_has():
    alphas = scaled_linear()
    assert (alphas.diff() < 0).all()
    assert float(alphas[0]) == pytest.approx(0.99915, abs=1e-5)
    assert float(alphas[-1]) == pytest.approx(0.0047, abs=1e-4)


def test_another_kind_of_prediction_is_refused_by_name():
    with pytest.raises(BaseModelError, match=r"'sample'.*epsilon or v_prediction"):
        Process(scaled_linear(), cast(Prediction, "sample"))
