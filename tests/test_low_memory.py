"""Updates in the backward pass from moments in 8 bits: their arithmetic, their memory, a resume."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from rarebooth import optimisers, quote, store, training
from rarebooth.base import Session
from rarebooth.errors import DivergedError, SettingsError
from rarebooth.methods.dreambooth import DreamBooth
from rarebooth.methods.dreambooth_lora import DreamBoothLora
from rarebooth.optimisers import AfterBackward, InBackward
from rarebooth.probe import Probe
from rarebooth.run import Run
from recipes import NO_EIGHT_BIT, RECIPE, TYPICAL
from toy_base import toy_subject
from training_jobs import finish, record, same_result, stop_after

library = pytest.importorskip("bitsandbytes", reason=NO_EIGHT_BIT)

FALLING = replace(RECIPE, steps=5, falling=True, rates={"text": 0.01})
IGNORED = {**TYPICAL, "falling": False, "rates": {}}

METHODS = {
    "whole": DreamBooth(train_text=True, prior=False, lr=1e-3),
    "adapters": DreamBoothLora(train_text=True, prior=False, lr=1e-3, dora=True),
}
every_kind = pytest.mark.parametrize("kind", METHODS)


def small(kind, steps=3):
    return replace(METHODS[kind], steps=steps)


def steps_of(method, base, run):
    """The steps of a method on a tiny base that forms intermediate results again."""
    with Session(base) as session:
        session.lend(base.recomputing())
        yield from method.fit(session, [toy_subject(base.size)], run)


def learnt(method, base, run):
    """All that was trained, after the last step; copies, because the base is given back."""
    for step in steps_of(method, base, run):
        if step.done == step.total:
            return {name: weight.clone() for name, weight in step.state().weights.items()}
    raise AssertionError("no step was taken")


def start():
    """A matrix and a vector of two parts, each too small for moments in 8 bits."""
    rng = torch.Generator().manual_seed(3)
    shapes = {"denoiser.matrix": (4, 3), "text.vector": (3,)}
    return {
        name: torch.randn(shape, generator=rng).requires_grad_() for name, shape in shapes.items()
    }


def gradients(weights, step):
    """Of both, of norms above and below the limit, a function of the step and of the weights."""
    rng = torch.Generator().manual_seed(step)
    return {
        name: torch.randn(weight.shape, generator=rng) * (1 if "matrix" in name else 0.1)
        + 0.01 * weight.detach()
        for name, weight in weights.items()
    }


def taken(optimiser, weights, recipe):
    """Weights after all steps, and the norm that each step told."""
    norms = []
    for step in range(1, recipe.steps + 1):
        if recipe.falling:
            optimiser.slow(1 - (step - 1) / recipe.steps)
        given = gradients(weights, step)
        with optimiser.forming():
            torch.stack([(given[name] * weights[name]).sum() for name in weights]).sum().backward()
        norms.append(float(optimiser.clip()))
        optimiser.step()
    return {name: weight.detach() for name, weight in weights.items()}, norms


def by_torch(recipe):
    """The same by torch alone: AdamW, each gradient clipped by itself."""
    weights = start()
    adamw = torch.optim.AdamW(
        [{"params": [weight], "lr": recipe.rate(name)} for name, weight in weights.items()],
        betas=recipe.betas,
        eps=recipe.eps,
        weight_decay=recipe.weight_decay,
    )
    peaks, norms = [group["lr"] for group in adamw.param_groups], []
    for step in range(1, recipe.steps + 1):
        for group, peak in zip(adamw.param_groups, peaks, strict=True):
            group["lr"] = peak * (1 - (step - 1) / recipe.steps if recipe.falling else 1)
        given = gradients(weights, step)
        norms.append(float(torch.cat([each.flatten() for each in given.values()]).norm()))
        for name, gradient in given.items():
            weights[name].grad = gradient
        for weight in weights.values():
            if recipe.clip is not None:
                torch.nn.utils.clip_grad_norm_([weight], recipe.clip)
        adamw.step()
    return {name: weight.detach() for name, weight in weights.items()}, norms


def apart(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize("setting", IGNORED)
def test_every_setting_acts_as_in_torch_with_each_gradient_clipped_by_itself(setting):
    weights = start()
    found, norms = taken(InBackward(weights, FALLING), weights, FALLING)
    expected, expected_norms = by_torch(FALLING)
    assert apart(found, expected) < 1e-6
    assert norms == pytest.approx(expected_norms)
    ignored, _ = by_torch(replace(FALLING, **{setting: IGNORED[setting]}))
    assert apart(found, ignored) > 1e-4


def test_clipping_them_all_by_one_norm_is_another_arithmetic():
    one, other = start(), start()
    found, norms = taken(InBackward(one, FALLING), one, FALLING)
    plain, plain_norms = taken(AfterBackward(other, FALLING), other, FALLING)
    assert apart(found, plain) > 1e-3
    assert norms[0] == pytest.approx(plain_norms[0])
    loose = replace(FALLING, clip=None)
    one, other = start(), start()
    found, plain = (
        taken(kind(weights, loose), weights, loose)[0]
        for kind, weights in ((InBackward, one), (AfterBackward, other))
    )
    assert apart(found, plain) < 1e-6


@every_kind
def test_a_step_with_fp32_moments_is_the_plain_one(kind, tiny_base, monkeypatch):
    """No gradient is formed from a weight that was updated already: all are those of the plain."""
    method, base = small(kind, steps=1), tiny_base()

    def clip(plain):
        norms = [optimisers._clipped([weight], plain._clip) for weight in plain._weights.values()]
        return torch.nn.utils.get_total_norm(norms)

    with monkeypatch.context() as patch:
        patch.setattr(AfterBackward, "clip", clip)
        plain = learnt(method, base, Run(0))
    in_fp32 = partial(library.optim.AdamW8bit, min_8bit_size=10**9)
    monkeypatch.setattr(library.optim, "AdamW8bit", in_fp32)
    found = learnt(method, base, Run(0, low_memory=True))
    assert apart(found, plain) < method.lr / 1000
    assert apart(found, learnt(small(kind, steps=2), base, Run(0))) > method.lr / 10


@every_kind
def test_no_two_gradients_are_held_together(kind, tiny_base, monkeypatch):
    base, held, weights = tiny_base(), [], {}
    whole, made = library.optim.AdamW8bit.step, InBackward.__init__

    def make(optimiser, given, recipe):
        weights.update(given)
        made(optimiser, given, recipe)

    def step(optimiser):
        held.append(sum(weight.grad is not None for weight in weights.values()))
        whole(optimiser)

    monkeypatch.setattr(InBackward, "__init__", make)
    monkeypatch.setattr(library.optim.AdamW8bit, "step", step)
    for taken_step in steps_of(small(kind), base, Run(0, low_memory=True)):
        assert held == [1] * len(weights) * taken_step.done
        assert not any(weight.grad is not None for weight in weights.values())


def test_moments_are_in_8_bits_where_weights_are_large(tiny_base):
    steps = steps_of(small("whole"), tiny_base(), Run(0, low_memory=True))
    state = next(steps).state()
    weights, slots = state.weights, state.optimiser
    assert slots.keys() == {"step", "state1", "state2", "absmax1", "absmax2"}
    large = {name for name, weight in weights.items() if weight.numel() >= 4096}
    assert slots["absmax1"].keys() == slots["absmax2"].keys() == large
    assert {name for name, codes in slots["state1"].items() if codes.element_size() == 1} == large
    held = sum(
        value.numel() * value.element_size() for each in slots.values() for value in each.values()
    )
    assert held < 2.6 * sum(weight.numel() for weight in weights.values())
    lent = {name: codes.data_ptr() for name, codes in slots["state1"].items()}
    again = next(steps).state().optimiser["state1"]
    assert lent == {name: codes.data_ptr() for name, codes in again.items()}
    steps.close()


@every_kind
def test_a_run_continues_bit_for_bit_from_disk(kind, tiny_base, tmp_path):
    method, base, ends = small(kind, steps=2), tiny_base(), []
    for resumed in (False, True):
        state, damaged = store.load_state(tmp_path)
        assert damaged == []
        assert (state is not None) == resumed
        for step in steps_of(method, base, Run(2, state, low_memory=True)):
            if step.done == 1:
                store.save_state(tmp_path, step.state())
            if step.done == 2:
                last = step.state()
                tensors = {"weights": last.weights, **last.optimiser}
                ends.append(
                    {
                        f"{group} {name}": value.clone()
                        for group, values in tensors.items()
                        for name, value in values.items()
                    }
                )
    straight, continued = ends
    assert straight.keys() == continued.keys()
    assert all(torch.equal(straight[key], continued[key]) for key in straight)


def test_a_state_of_the_plain_loop_is_refused(tiny_base):
    base, method = tiny_base(), small("whole")
    state = next(steps_of(method, base, Run(0))).state()
    with pytest.raises(SettingsError, match="not one of this run"):
        next(steps_of(method, base, Run(0, state, low_memory=True)))


@every_kind
@pytest.mark.parametrize("diverged", [False, True])
def test_the_base_is_given_back_without_hooks(kind, diverged, tiny_base, monkeypatch):
    base = tiny_base()

    def weights():
        return [weight for part in ("denoiser", "text") for weight in base.part(part).parameters()]

    before = [weight.clone() for weight in weights()]
    steps = steps_of(small(kind), base, Run(0, low_memory=True))
    next(steps)
    assert not any(weight._post_accumulate_grad_hooks for weight in weights())
    if diverged:
        whole = base.denoise
        monkeypatch.setattr(base, "denoise", lambda *given: whole(*given) * torch.nan)
        with pytest.raises(DivergedError, match="step 2"):
            next(steps)
    steps.close()
    assert all(torch.equal(*pair) for pair in zip(before, weights(), strict=True))
    for weight in weights():
        assert not weight.requires_grad
        assert weight.grad is None
        assert not weight._post_accumulate_grad_hooks


def test_learning_lowers_the_error_on_the_same_noise(tiny_base):
    base = tiny_base()
    probe = Probe.of(base, toy_subject(base.size).images)
    losses = []
    with Session(base) as session:
        steps = small("whole", steps=5).fit(
            session, [toy_subject(base.size)], Run(0, low_memory=True)
        )
        for step in steps:
            if step.done in {1, step.total}:
                losses.append(probe.loss(session, "a photo of sks dog"))
    assert losses[1] < losses[0] - 1e-4


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(job, tmp_path):
    finish(job("straight", low_memory="true"))
    stop_after(job(low_memory="true"), 7)
    with pytest.raises(SettingsError, match="low_memory: True -> False"):
        job()
    finish(job(low_memory="true", gradient_checkpointing="true"))
    same_result(tmp_path / "straight", tmp_path / "run")
    kept = record(tmp_path / "run")
    assert kept["settings"]["low_memory"] is True
    assert kept["versions"]["bitsandbytes"] == library.__version__
    finish(job("plain"))
    assert "bitsandbytes" not in record(tmp_path / "plain")["versions"]


def test_quote_and_training_take_its_steps_and_form_results_again(job, toy, monkeypatch):
    said = []

    def noted(*given, **named):
        run = Run(*given, **named)
        said.append(run.low_memory)
        return run

    for module in (quote, training):
        monkeypatch.setattr(module, "Run", noted)
    whole = toy.recomputing
    monkeypatch.setattr(toy, "recomputing", lambda: said.append("again") or whole())
    planned = job(low_memory="true")
    quote.quote(planned)
    finish(planned)
    assert said == [True, "again"] * 2


def test_what_a_plan_needs_is_less(job):
    plain, low = (job(save_state_every=1, low_memory=value) for value in ("false", "true"))
    numbers = plain.memory_needed / 16
    assert low.memory_needed == int(numbers * (4 + 2 + 8 / 256))
    states = plain.disk_needed - low.disk_needed
    assert states == pytest.approx(numbers * 2 * (8 - 2 - 8 / 256), abs=1)


@every_kind
def test_compiled_steps_are_the_same(kind, tiny_base, tmp_path, monkeypatch):
    """Of a compiled block all gradients come at once, and its weights are updated then."""
    base, method = tiny_base(), small(kind, steps=4)

    def losses():
        return [float(step.loss) for step in steps_of(method, base, Run(0, low_memory=True))]

    plain = losses()
    torch.compiler.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    with base.compiled(pytest.fail):
        assert losses() == pytest.approx(plain, rel=1e-4)
    assert len(set(plain)) == 4
