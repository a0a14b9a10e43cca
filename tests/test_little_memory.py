"""What makes a training fit into less memory: the same result, in fewer bytes."""

import json
import sys
import weakref
from types import SimpleNamespace

import pytest
import torch

from rarebooth import artifact
from rarebooth.base import Session
from rarebooth.errors import SettingsError
from rarebooth.folder import RunFolder
from rarebooth.methods.two_stage import TwoStage
from rarebooth.optimisers import eight_bit
from rarebooth.run import Recipe, Run
from toy_base import toy_subject
from training_jobs import PLACES, finish, same_result, stop_after


def step(base, rows=2):
    """Gradients of the U-Net for fixed noise, and the bytes that were kept for the way back."""
    generator = torch.Generator().manual_seed(3)
    noisy = torch.randn((rows, *base.latent_shape), generator=generator)
    timestep = torch.tensor([11, 700])[:rows]
    kept = 0

    def count(tensor):
        nonlocal kept
        kept += tensor.untyped_storage().nbytes()
        return tensor

    with Session(base) as session:
        weights = session.tune("denoiser")
        condition = session.condition(["a photo of a dog"]).expand(rows, -1, -1)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss = base.denoise(noisy, timestep, condition).square().mean()
        loss.backward()
        assert all(weight.grad is not None for weight in weights.values())
        grads = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
    return grads, kept


def test_recomputing_keeps_less_and_gives_the_same_gradients(tiny_base):
    base = tiny_base()
    plain, much = step(base)
    with base.recomputing():
        again, little = step(base)
    assert little < much / 2
    assert plain.keys() == again.keys()
    for name, grad in plain.items():
        assert torch.equal(grad, again[name]), name
    assert step(base)[1] == much  # outside, all is as before


def test_what_steps_of_the_denoiser_do_not_need_is_given_back(tiny_base):
    base = tiny_base()
    subject, method = toy_subject(size=base.size), TwoStage(token_steps=2, steps=2)
    encoder, autoencoder = (
        weakref.ref(part()) for part in (base._parts.text_encoder, base._parts.vae)
    )
    prompts, pictures = ["a photo of a dog"], torch.ones(1, *base.latent_shape)
    with torch.no_grad():
        before = base.condition(prompts, {}), base.decode(pictures)
    with Session(base) as session:
        for step in method.fit(session, [subject], Run(seed=0)):
            assert autoencoder() is None
            assert (encoder() is None) == (step.stage == "denoiser")
    with torch.no_grad():
        again = base.condition(prompts, {}), base.decode(pictures)
    assert torch.equal(before[0], again[0])
    assert (before[1] == again[1]).all()


def test_a_text_encoder_that_was_changed_is_kept(tiny_base):
    base = tiny_base()
    with Session(base) as session:
        session.tune("text")
        encoder = weakref.ref(base.part("text"))
        session.release()
        assert encoder() is not None


def limited(monkeypatch, base, most):
    """A denoiser that has memory for so many pictures; returns how many each call was given."""
    whole, asked = base.denoise, []

    def denoise(noisy, timestep, condition):
        asked.append(len(noisy))
        if len(noisy) > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return whole(noisy, timestep, condition)

    monkeypatch.setattr(base, "denoise", denoise)
    return asked


def test_a_batch_that_does_not_fit_is_worked_off_in_pieces(job, toy, tmp_path, monkeypatch):
    flags = {"batch": 4, "token_batch": 4, "split_batches": "true"}
    finish(job("whole", **flags))
    told = []
    with monkeypatch.context() as patch:
        asked = limited(patch, toy, 1)
        finish(job("split", **flags), notice=told.append)
    assert len(told) == 2 * 2  # to 2 and to 4 pieces, in each stage
    assert told[0] == (
        "The memory is not enough for 4 pictures at once: from here on they are worked off in 2 "
        "pieces."
    )
    assert asked[:3] == [4, 2, 1]
    assert asked.count(1) == 4 * 9
    learnt = [RunFolder(tmp_path / name).subject for name in ("whole", "split")]
    assert_nearly_equal(*learnt)


def assert_nearly_equal(one, other):
    left, right = (artifact.load(path).delta for path in (one, other))
    for token, vector in left.tokens.items():
        torch.testing.assert_close(vector, right.tokens[token], atol=1e-5, rtol=1e-4)
    for name, change in left.weights.items():
        zero = torch.zeros(change.shape)
        torch.testing.assert_close(
            change.applied(zero), right.weights[name].applied(zero), atol=1e-5, rtol=1e-2
        )


def test_without_being_asked_to_nothing_is_split(job, toy, monkeypatch):
    limited(monkeypatch, toy, 1)
    with pytest.raises(RuntimeError, match="out of memory"):
        finish(job(batch=4, token_batch=4))


def test_other_errors_and_single_pictures_are_not_tried_again(job, toy, monkeypatch):
    asked = limited(monkeypatch, toy, 0)
    with pytest.raises(RuntimeError, match="out of memory"):
        finish(job(batch=4, token_batch=4, split_batches="true"))
    assert asked == [4, 2, 1]
    monkeypatch.setattr(toy, "denoise", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        finish(job("other", batch=4, split_batches="true"))


def test_a_run_may_go_on_with_checkpointing_and_ends_the_same(job, tmp_path):
    finish(job("straight"))
    stop_after(job(), 5)
    finish(job(gradient_checkpointing="true"))
    same_result(tmp_path / "straight", tmp_path / "run")
    with pytest.raises(SettingsError, match="split_batches"):
        job(split_batches="true")


def test_low_memory_without_its_library_is_refused_before_the_base_is_opened(job, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr("rarebooth.plan.open_base", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(SettingsError, match=r'pip install "rarebooth\[low-memory\]"'):
        job(low_memory="true")


def test_low_memory_is_refused_where_its_library_has_no_optimiser(monkeypatch):
    library = SimpleNamespace(optim="its optimisers")
    monkeypatch.setitem(sys.modules, "bitsandbytes", library)
    assert eight_bit(torch.device("cpu")) == library.optim
    with pytest.raises(SettingsError, match=r"^low_memory .* mps.* --device cpu"):
        eight_bit(torch.device("mps"))


@pytest.mark.parametrize(("accumulate", "split"), [(2, False), (1, True)])
def test_low_memory_takes_no_batch_in_pieces(accumulate, split):
    recipe = Recipe(lr=1.0, steps=1, weight_decay=0.0, clip=None, accumulate=accumulate)
    weights = {"weight": torch.zeros(1, requires_grad=True)}
    unused = [lambda *_: pytest.fail("a step was taken")] * 3
    with pytest.raises(SettingsError, match=r"^low_memory"):
        next(Run(0, split=split, low_memory=True).train("only", weights, recipe, *unused))


def test_a_run_of_a_version_without_these_settings_continues(job):
    stop_after(job(), 5)
    path = job().folder.record
    kept = json.loads(path.read_text("utf-8"))
    for name in ("gradient_checkpointing", "split_batches", "low_memory", "compile"):
        assert kept["settings"].pop(name) is False
    path.write_text(json.dumps(kept), "utf-8")
    assert finish(job())[0] == PLACES[4]
