"""The training loop: AdamW as written by hand, randomness by position, resume, divergence."""

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

from rarebooth import run as run_module
from rarebooth.base import Batch
from rarebooth.delta import Delta
from rarebooth.errors import DivergedError
from rarebooth.run import Recipe, Run, State, draw_batch, generator_for
from recipes import NO_EIGHT_BIT, RECIPE, TYPICAL
from toy_base import ToyBase

EIGHT_BIT = pytest.mark.skipif(
    find_spec("bitsandbytes") is None,
    reason=NO_EIGHT_BIT,
)


def nothing_learnt():
    return Delta(("toy",))


def draw(rng, count=6):
    """Two numbers a sample, as noise; photo numbers the samples."""
    return Batch(
        photo=torch.arange(count),
        timestep=torch.randint(1000, (count,), generator=rng),
        noise=torch.randn(count, 2, generator=rng, dtype=torch.float64),
        encoding=torch.zeros(count, 2, dtype=torch.float64),
        prompt=torch.zeros(count, dtype=torch.int64),
    )


def start():
    matrix = torch.tensor([[0.5, -1.0], [2.0, 0.3]], dtype=torch.float64, requires_grad=True)
    vector = torch.tensor([0.1, -0.2], dtype=torch.float64, requires_grad=True)
    return {"matrix": matrix, "vector": vector}


def loss_of(weights):
    def loss(batch):
        answer = batch.noise @ weights["matrix"] + weights["vector"]
        return (answer - 3 * batch.noise - 1).square().mean(dim=1)

    return loss


def engine(recipe, seed=5, weights=None):
    weights = weights or start()
    steps = Run(seed).train("stage", weights, recipe, draw, loss_of(weights), nothing_learnt)
    losses = [float(step.loss) for step in steps]
    return {name: weight.detach().numpy() for name, weight in weights.items()}, losses


def by_hand(recipe, seed=5):
    """AdamW with a global gradient clip, in NumPy: Loshchilov and Hutter 2019, algorithm 2."""
    weights = {name: weight.detach().numpy().copy() for name, weight in start().items()}
    first = {name: np.zeros_like(weight) for name, weight in weights.items()}
    second = {name: np.zeros_like(weight) for name, weight in weights.items()}
    for step in range(1, recipe.steps + 1):
        noise = draw(generator_for(seed, "stage", step)).noise.numpy()
        miss = noise @ weights["matrix"] + weights["vector"] - 3 * noise - 1
        gradients = {"matrix": noise.T @ miss / len(noise), "vector": miss.mean(axis=0)}
        if recipe.clip is not None:
            norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
            factor = min(1.0, recipe.clip / (norm + 1e-6))  # the 1e-6 is torch's
            gradients = {name: gradient * factor for name, gradient in gradients.items()}
        beta_one, beta_two = recipe.betas
        for name, gradient in gradients.items():
            weights[name] *= 1 - recipe.lr * recipe.weight_decay
            first[name] = beta_one * first[name] + (1 - beta_one) * gradient
            second[name] = beta_two * second[name] + (1 - beta_two) * gradient**2
            mean = first[name] / (1 - beta_one**step)
            deviation = np.sqrt(second[name] / (1 - beta_two**step))
            weights[name] -= recipe.lr * mean / (deviation + recipe.eps)
    return weights


def distance(one, other):
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


@pytest.mark.parametrize("setting", TYPICAL)
def test_every_setting_of_the_optimiser_acts_as_written_by_hand(setting):
    found, _ = engine(RECIPE)
    assert distance(found, by_hand(RECIPE)) < 1e-12
    ignored = replace(RECIPE, **{setting: TYPICAL[setting]})
    assert distance(found, by_hand(ignored)) > 1e-3
    also_found, _ = engine(ignored)
    assert distance(also_found, by_hand(ignored)) < 1e-12


def test_the_number_of_steps_is_the_number_of_updates():
    for steps in (1, 5):
        recipe = replace(RECIPE, steps=steps)
        found, losses = engine(recipe)
        assert len(losses) == steps
        assert distance(found, by_hand(recipe)) < 1e-12


def test_the_first_step_is_as_long_as_every_other():
    """Adam at a constant gradient moves by the learning rate: no warm-up, no decay."""
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    recipe = Recipe(lr=0.1, steps=5, weight_decay=0.0, clip=None, eps=0.0)
    seen = [0.0]
    for _ in Run(0).train(
        "stage",
        {"weight": weight},
        recipe,
        draw,
        lambda batch: weight.expand(len(batch.photo)) * 7.0,
        nothing_learnt,
    ):
        seen.append(float(weight.detach()))
    assert np.diff(seen) == pytest.approx([-0.1] * 5, rel=1e-9)


@pytest.mark.parametrize("pieces", [2, 3, 4, 6])
def test_accumulated_pieces_equal_the_whole_batch(pieces):
    calls = []

    def counted(weights):
        loss = loss_of(weights)

        def call(batch):
            calls.append(len(batch.photo))
            return loss(batch)

        return call

    whole, whole_losses = engine(RECIPE)
    weights = start()
    recipe = replace(RECIPE, accumulate=pieces)
    run = Run(5).train("stage", weights, recipe, draw, counted(weights), nothing_learnt)
    losses = [float(step.loss) for step in run]
    parts = {name: weight.detach().numpy() for name, weight in weights.items()}
    assert distance(parts, whole) < 1e-12
    assert losses == pytest.approx(whole_losses, rel=1e-6)
    assert max(calls) == -(-6 // pieces)
    assert sum(calls) == 6 * RECIPE.steps


def test_the_reported_loss_is_the_mean_before_the_update():
    weights = start()
    with torch.no_grad():
        expected = float(loss_of(weights)(draw(generator_for(5, "stage", 1))).mean())
    _, losses = engine(RECIPE)
    assert losses[0] == pytest.approx(expected, rel=1e-6)


def test_steps_say_where_they_are_and_what_was_drawn():
    weights = start()
    steps = list(Run(5).train("stage", weights, RECIPE, draw, loss_of(weights), nothing_learnt))
    assert [(step.stage, step.done, step.total) for step in steps] == [
        ("stage", done, 6) for done in range(1, 7)
    ]
    for step in steps:
        drawn = draw(generator_for(5, "stage", step.done))
        assert torch.equal(step.batch.noise, drawn.noise)
        assert torch.equal(step.batch.timestep, drawn.timestep)
    assert all(not weight.requires_grad for weight in weights.values())


GOLDEN: dict[tuple[int, str, int], list[int]] = {
    (0, "token", 1): [569, 562, 295, 798],
    (0, "denoiser", 1): [372, 981, 504, 284],
    (1, "token", 1): [420, 140, 998, 751],
    (0, "token", 2): [92, 40, 207, 697],
}
"""First numbers of ``torch.randint(1000, (4,))``: a new value would change everyone's runs."""


@pytest.mark.parametrize("position", GOLDEN)
def test_randomness_follows_from_the_position_and_never_changes(position):
    drawn = torch.randint(1000, (4,), generator=generator_for(*position))
    torch.manual_seed(99)
    torch.rand(10)
    again = torch.randint(1000, (4,), generator=generator_for(*position))
    assert drawn.tolist() == again.tolist() == GOLDEN[position]


def test_positions_do_not_run_into_each_other():
    positions: list[Any] = [(1, "a", 11), (1, "a1", 1), (11, "a", 1), (1, "a", 1, 1), (-1, "a", 1)]
    seeds = {generator_for(*position).initial_seed() for position in positions}
    assert len(seeds) == len(positions)


def test_a_batch_covers_all_timesteps_and_photos_evenly():
    base = ToyBase()
    drawer = draw_batch(base, 5, 2000)
    drawn = [drawer(generator_for(0, "stage", step)) for step in range(20)]
    timesteps = torch.cat([batch.timestep for batch in drawn])
    assert set(timesteps.tolist()) == set(range(1000))
    counts = torch.bincount(timesteps // 100).float()
    assert (counts / counts.mean() - 1).abs().max() < 0.1
    photos = torch.bincount(torch.cat([batch.photo for batch in drawn])).float()
    assert len(photos) == 5
    assert (photos / photos.mean() - 1).abs().max() < 0.1


def test_a_batch_is_noise_of_the_shape_of_the_latents():
    base = ToyBase()
    batch = draw_batch(base, 5, 500)(generator_for(0, "stage", 1))
    for field in (batch.noise, batch.encoding):
        assert field.shape == (500, *base.latent_shape)
        assert field.dtype == torch.float32
        assert abs(float(field.mean())) < 0.03
        assert abs(float(field.std()) - 1) < 0.03
    both = torch.stack([batch.noise.flatten(), batch.encoding.flatten()])
    assert abs(float(torch.corrcoef(both)[0, 1])) < 0.03
    assert batch.photo.dtype == batch.timestep.dtype == torch.int64


def test_a_batch_is_a_function_of_its_generator():
    drawer = draw_batch(ToyBase(), 5, 4)
    one, same = (drawer(generator_for(0, "stage", 1)) for _ in range(2))
    other = drawer(generator_for(0, "stage", 2))
    assert torch.equal(one.noise, same.noise)
    assert not torch.equal(one.noise, other.noise)


def test_chunks_keep_samples_together_and_in_order():
    batch = draw(generator_for(0, "stage", 1), count=5)
    parts = list(batch.chunks(2))
    assert [len(part.photo) for part in parts] == [3, 2]
    for name in ("photo", "timestep", "noise", "encoding"):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(batch, name))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("at", [1, 4, 6])
def test_a_loss_that_is_not_finite_stops_before_the_update(bad, at):
    weights = start()
    loss = loss_of(weights)
    done = 0

    def spoilt(batch):
        return loss(batch) * (bad if done + 1 == at else 1.0)

    steps = Run(0).train("second", weights, RECIPE, draw, spoilt, nothing_learnt)
    for _ in range(at - 1):
        done = next(steps).done
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    with pytest.raises(DivergedError, match=rf"step {at} of stage 'second'.*0\.05") as caught:
        next(steps)
    assert done == at - 1
    assert caught.value.exit_code == 5
    assert all(torch.equal(weights[name], before[name]) for name in weights)


@pytest.mark.parametrize("clip", [1.0, None])
def test_a_gradient_that_is_not_finite_stops_before_the_update(clip):
    """A square root at zero: the loss is a number and its gradient is not."""
    weights = start()

    def spoilt(batch):
        return (weights["vector"] * 0).square().sum().sqrt().expand(len(batch.photo)) + 1

    recipe = replace(RECIPE, clip=clip)
    with pytest.raises(DivergedError, match="step 1 of stage 'only'"):
        list(Run(0).train("only", weights, recipe, draw, spoilt, nothing_learnt))
    assert all(torch.equal(weights[name], start()[name]) for name in weights)


def test_a_class_image_that_is_no_number_is_not_taken_for_a_photo():
    weights = start()
    run = Run(0, shown=["rex 1.png"])

    def spoilt(batch):
        return loss_of(weights)(batch) * torch.nan

    with pytest.raises(
        DivergedError, match=r"\(photo 'rex 1.png' at timestep \d+, class image 1 at"
    ):
        list(run.train("only", weights, RECIPE, draw, spoilt, nothing_learnt))


def on_a_gpu(monkeypatch):
    """Makes the loop believe that its numbers lie on a GPU, where each look at one is a wait."""
    looks = []
    whole = run_module._Watch.look

    def look(watch):
        looks.append([done for done, _, _ in watch._unseen])
        whole(watch)

    class Far:
        """A loss on a device of which a CPU knows only the type."""

        def __init__(self, loss):
            self.loss, self.device = loss, torch.device("cuda")

        def __getattr__(self, name):
            return getattr(self.loss, name)

    backward = run_module._backward

    def far(*given):
        mean, losses = backward(*given)
        return Far(mean), losses

    monkeypatch.setattr(run_module, "_backward", far)
    monkeypatch.setattr(run_module._Watch, "look", look)
    return looks


def test_on_a_gpu_losses_are_looked_at_in_blocks(monkeypatch):
    looks = on_a_gpu(monkeypatch)
    engine_steps = replace(RECIPE, steps=23)
    weights = start()
    for _ in Run(5).train("stage", weights, engine_steps, draw, loss_of(weights), nothing_learnt):
        pass
    assert looks == [[*range(1, 11)], [*range(11, 21)], [21, 22, 23]]


@pytest.mark.parametrize("what", ["state", "snapshot", "nothing"])
@pytest.mark.parametrize("low_memory", [False, pytest.param(True, marks=EIGHT_BIT)])
def test_on_a_gpu_the_step_that_went_wrong_is_named_before_anything_is_saved(
    monkeypatch, low_memory, what
):
    on_a_gpu(monkeypatch)
    weights = start()
    whole, batches = loss_of(weights), []

    def spoilt(batch):
        batches.append(batch)
        return whole(batch) * (torch.nan if len(batches) == 4 else 1.0)

    recipe = replace(RECIPE, steps=20)
    steps = Run(0, low_memory=low_memory).train(
        "second", weights, recipe, draw, spoilt, nothing_learnt
    )

    def save_after_seven():
        for step in steps:
            if step.done == 7 and what != "nothing":
                getattr(step, what)()

    with pytest.raises(DivergedError, match="step 4 of stage 'second'") as caught:
        save_after_seven()
    for number, timestep in enumerate(batches[3].timestep.tolist(), start=1):
        assert f"picture {number} at timestep {timestep}" in str(caught.value)
    assert len(batches) == (10 if what == "nothing" else 7)


def test_cudnn_is_deterministic_while_a_step_is_formed_and_left_as_it_was():
    cudnn: Any = torch.backends.cudnn
    before, during = (cudnn.deterministic, cudnn.benchmark), []
    weights = start()
    whole = loss_of(weights)

    def watched(batch):
        during.append((cudnn.deterministic, cudnn.benchmark))
        return whole(batch)

    for _ in Run(0).train("only", weights, RECIPE, draw, watched, nothing_learnt):
        assert (cudnn.deterministic, cudnn.benchmark) == before
    assert set(during) == {(True, False)}


def kept(state):
    """A copy of a state, which is lent for one step only."""

    def copy(tensors):
        return {name: tensor.clone() for name, tensor in tensors.items()}

    return State(
        state.stage,
        state.done,
        {stage: copy(tensors) for stage, tensors in state.finished.items()},
        copy(state.weights),
        {slot: copy(tensors) for slot, tensors in state.optimiser.items()},
        state.pieces,
    )


def two_stages(run, weights):
    for stage, name in (("one", "vector"), ("two", "matrix")):
        yield from run.train(
            stage, {name: weights[name]}, RECIPE, draw, loss_of(weights), nothing_learnt
        )


@pytest.mark.parametrize("stop", [("one", 1), ("one", 6), ("two", 1), ("two", 5), ("two", 6)])
def test_a_run_continues_from_its_state_bit_for_bit(stop):
    straight = start()
    states = {(step.stage, step.done): kept(step.state()) for step in two_stages(Run(3), straight)}
    resumed = start()
    steps = list(two_stages(Run(3, states[stop]), resumed))
    places = [("one", done) for done in range(1, 7)] + [("two", done) for done in range(1, 7)]
    assert [(step.stage, step.done) for step in steps] == places[places.index(stop) + 1 :]
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)
    if steps:
        last, expected = steps[-1].state(), states["two", 6]
        assert (
            last.optimiser.keys() == expected.optimiser.keys() == {"step", "exp_avg", "exp_avg_sq"}
        )
        for slot, tensors in expected.optimiser.items():
            assert torch.equal(last.optimiser[slot]["matrix"], tensors["matrix"])
        assert torch.equal(last.finished["one"]["vector"], straight["vector"])


def test_a_state_lends_the_tensors_that_are_trained():
    """A second copy of weights and moments would take 10 GB for a model of usual size."""
    weights, run = start(), Run(3)
    steps = two_stages(run, weights)
    state = [next(steps) for _ in range(8)][-1].state()
    assert state.weights["matrix"].data_ptr() == weights["matrix"].data_ptr()
    assert state.finished["one"]["vector"].data_ptr() == weights["vector"].data_ptr()
    assert not state.weights["matrix"].requires_grad
    moments = {slot: tensors["matrix"].data_ptr() for slot, tensors in state.optimiser.items()}
    again = next(steps).state()
    assert moments == {slot: found["matrix"].data_ptr() for slot, found in again.optimiser.items()}


def test_gradients_of_an_earlier_stage_do_not_reach_the_next():
    """The first stage's loss also leaves gradients on the matrix, which a resume never sees."""
    weights, run = start(), Run(3)
    stages = two_stages(run, weights)
    for _ in range(6):
        next(stages)
    assert weights["matrix"].grad is not None
    after_one = {name: weight.detach().clone() for name, weight in weights.items()}
    next(stages)
    alone = start()
    for name, value in after_one.items():
        alone[name].data.copy_(value)
    alone["vector"].requires_grad_(False)
    fresh = {"matrix": alone["matrix"]}
    next(Run(3).train("two", fresh, RECIPE, draw, loss_of(alone), nothing_learnt))
    assert torch.equal(weights["matrix"], alone["matrix"])


def test_a_state_continues_twice_alike():
    """A resume must not train on the state's own tensors."""
    state = kept(next(two_stages(Run(3), start())).state())
    ends = []
    for _ in range(2):
        weights = start()
        list(two_stages(Run(3, state), weights))
        ends.append(weights)
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
