"""From step to step, and while a picture is drawn, the host never waits for a GPU.

Numbers on torch's device "meta" have shapes and no content, so that whoever asks for one fails. The
tests marked ``gpu`` have CUDA itself refuse to be waited for.
"""

from contextlib import closing, contextmanager, nullcontext
from dataclasses import fields, replace
from itertools import islice
from typing import Any, get_args

import pytest
import torch
from test_methods import small, subject_for
from torch.utils._python_dispatch import TorchDispatchMode

from rarebooth import run, sample
from rarebooth.base import Session
from rarebooth.bases.held import Held
from rarebooth.bases.sd import StableDiffusion
from rarebooth.methods import find
from rarebooth.run import Run
from toy_base import WIDTH, ToyBase

META = torch.device("meta")

every_sampler = pytest.mark.parametrize("sampler", get_args(sample.Sampler))
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def steps_of(name, session, steps=3):
    """The steps of a method that draws no class images."""
    kind = find(name)
    given = {item.name: False for item in fields(kind) if item.name == "prior"}
    given |= {item.name: steps for item in fields(kind) if item.name.endswith("steps")}
    return small(name, **given).fit(session, [subject_for(session.base)], Run(0))


def not_fused(kind):
    def make(*given, fused, **named):
        return kind(*given, **named)

    return make


@pytest.fixture
def far_base(tiny_folder, monkeypatch):
    """A tiny Stable Diffusion whose numbers are nowhere."""
    base = StableDiffusion.load(tiny_folder(), "tiny", "cpu")
    base.device = META
    base.process = replace(base.process, alphas_cumprod=base.process.alphas_cumprod.to(META))
    networks: list[Any] = [base._parts.unet, base._parts.vae(), base._parts.text_encoder()]
    for network in networks:
        network.to(META)
    monkeypatch.setattr(Held, "release", lambda _: None)
    # Once in many steps, and at a stage's end.
    monkeypatch.setattr(run._Watch, "look", lambda _: None)
    # Torch has neither for this device.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch.optim, "AdamW", not_fused(torch.optim.AdamW))
    return base


@pytest.mark.parametrize("name", ["two-stage", "textual-inversion"])
def test_no_step_asks_the_device_for_a_number(name, far_base):
    stages = find(name).stages
    with Session(far_base) as session, closing(steps_of(name, session, 2)) as steps:
        taken = list(islice(steps, 2 * len(stages)))
    places = [(stage, done, META) for stage in stages for done in (1, 2)]
    assert [(step.stage, step.done, step.loss.device) for step in taken] == places


class Made(TorchDispatchMode):
    """Counts tensors that are made of Python's numbers: each takes a copy that CUDA waits for."""

    count = 0

    def __torch_dispatch__(self, called, types, args=(), kwargs=None):
        self.count += called is torch.ops.aten.lift_fresh.default
        return called(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["two-stage", "custom-diffusion"])
def test_steps_after_the_first_send_only_what_they_draw(name, tiny_base):
    with Session(tiny_base()) as session, closing(steps_of(name, session)) as steps:
        for _ in find(name).stages:
            next(steps)
            with Made() as made:
                assert [next(steps).done, next(steps).done] == [2, 3]
            assert made.count == 0


def solver_for(base, sampler):
    return sample.scheduler(sampler, base.scheduler_config)


@every_sampler
def test_no_step_of_a_sampler_asks_the_device_for_a_number(sampler):
    base: Any = ToyBase()
    base.device = META
    base.part("denoiser").to(META)
    base.condition = lambda prompts, _: torch.zeros(len(prompts), 3, WIDTH, device=META)
    solver = solver_for(base, sampler)
    latents = sample._latents(Session(base), ["a dog", "a cat"], [1, 2], solver, 5, 7.5)
    assert latents.device == META
    assert latents.shape == (2, *base.latent_shape)


@contextmanager
def no_waits():
    """While inside, CUDA fails where the host would wait for it."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@pytest.fixture
def gpu_base(tiny_folder):
    return StableDiffusion.load(tiny_folder(), "tiny", "cuda")


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.parametrize("name", ["two-stage", "textual-inversion", "custom-diffusion"])
def test_cuda_is_not_waited_for_between_looks(name, gpu_base):
    between = run.GPU_CHECK_EVERY - 1
    with Session(gpu_base) as session, closing(steps_of(name, session, between + 1)) as steps:
        for _ in find(name).stages:
            next(steps)
            with no_waits():
                assert [next(steps).done for _ in range(between - 1)][-1] == between
            next(steps)


@pytest.mark.gpu
@on_a_gpu
@every_sampler
def test_cuda_is_not_waited_for_while_a_picture_is_drawn(sampler, gpu_base):
    asked = (["a photo of dog", "a red dog"], [1, 2])
    with Session(gpu_base) as session, torch.no_grad():
        session.condition([*asked[0], ""])
        with no_waits():
            sample._latents(session, *asked, solver_for(gpu_base, sampler), 5, 7.5)
