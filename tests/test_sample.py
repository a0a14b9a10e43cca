"""Drawing: the same pictures as diffusers' pipeline, whatever else is drawn beside them."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler

from rarebooth import sample
from rarebooth.base import Session
from rarebooth.errors import DivergedError, SettingsError
from rarebooth.settings import DrawSettings
from toy_base import ToyBase

PROMPTS = ("a photo of dog", "red cat on the beach", "a toy")
SEEDS = (7, 8, 7)
predictions = pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])


def draw(base, prompts=PROMPTS, seeds=SEEDS, **options):
    with Session(base) as session:
        return sample.draw(session, prompts, seeds, **options)


def apart(one, other):
    """The largest difference of two stacks of pictures, in grey levels."""
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def reference_scheduler(sampler, config) -> Any:
    # Neither is what diffusers would do by itself from every config: latents are never clipped,
    # and DPM-Solver++ is used with the spacing of its authors.
    if sampler == "ddim":
        return DDIMScheduler.from_config(config, clip_sample=False)
    if sampler == "pndm":
        return PNDMScheduler.from_config(config)
    return DPMSolverMultistepScheduler.from_config(config, timestep_spacing="linspace")


@pytest.fixture(scope="module")
def pipeline(tiny_folder):
    pipelines = {}

    def load(prediction):
        if prediction not in pipelines:
            made = StableDiffusionPipeline.from_pretrained(tiny_folder(prediction))
            made.set_progress_bar_config(disable=True)
            pipelines[prediction] = made
        return pipelines[prediction]

    return load


@predictions
@pytest.mark.parametrize(
    ("sampler", "steps", "guidance"),
    [("ddim", 50, 7.5), ("ddim", 7, 1.0), ("dpm++", 12, 7.5), ("dpm++", 5, 1.0), ("pndm", 9, 7.5)],
)
def test_pictures_are_those_of_diffusers(tiny_base, pipeline, prediction, sampler, steps, guidance):
    base, pipe = tiny_base(prediction), pipeline(prediction)
    pipe.scheduler = reference_scheduler(sampler, base.scheduler_config)
    expected = pipe(
        list(PROMPTS),
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        output_type="np",
    ).images
    found = draw(base, sampler=sampler, steps=steps, guidance=guidance)
    assert found.dtype == np.uint8
    assert found.shape == (3, base.size, base.size, 3)
    assert apart(found, (expected * 255).round()) <= 1
    assert found.std() > 5
    assert apart(found[:1], found[2:]) > 1, "the prompt must matter"


@predictions
def test_ddim_is_the_formula_of_its_paper(tiny_base, prediction):
    """Song et al. 2021, equation 12 with sigma 0, from the process alone."""
    base = tiny_base(prediction)
    steps, guidance = 50, 3.0
    latents = torch.stack(
        [torch.randn(base.latent_shape, generator=torch.Generator().manual_seed(7))]
    )
    with Session(base) as session, torch.no_grad():
        asked, empty = session.condition([PROMPTS[0]]), session.condition([""])
        for number in reversed(range(steps)):
            timestep = torch.tensor([number * 20 + 1])  # steps_offset is 1 in this base's config
            without = base.denoise(latents, timestep, empty)
            answer = without + guidance * (base.denoise(latents, timestep, asked) - without)
            clean, noise = base.process.split(latents, answer, timestep)
            earlier = (timestep - 20).clamp(min=0)
            latents = base.process.add(clean, noise, earlier)
        expected = base.decode(latents)
    found = draw(base, PROMPTS[:1], [7], steps=steps, guidance=guidance)
    assert apart(found, expected) <= 1


@pytest.mark.parametrize("sampler", get_args(sample.Sampler))
def test_a_picture_does_not_depend_on_its_batch(tiny_base, sampler, monkeypatch):
    base = tiny_base()
    prompts = [PROMPTS[index % 3] for index in range(5)]
    seeds = list(range(5))
    options = {"sampler": sampler, "steps": 6}
    together = draw(base, prompts, seeds, **options)
    assert len(together) == 5
    alone = [draw(base, prompts[at : at + 1], seeds[at : at + 1], **options) for at in range(5)]
    assert apart(together, np.concatenate(alone)) <= 1
    backwards = draw(base, prompts[::-1], seeds[::-1], **options)
    assert apart(together, backwards[::-1]) <= 1
    monkeypatch.setattr(sample, "BATCH", 2)
    assert apart(together, draw(base, prompts, seeds, **options)) <= 1
    assert min(apart(together[at], together[at + 3]) for at in range(2)) > 3


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("sampler", get_args(sample.Sampler))
def test_drawing_costs_what_its_settings_say(sampler, guidance, monkeypatch):
    base, asked = ToyBase(), []
    whole = base.denoise

    def denoise(noisy, timestep, condition):
        asked.append(len(noisy))
        return whole(noisy, timestep, condition)

    monkeypatch.setattr(base, "denoise", denoise)
    settings = DrawSettings(sampler=sampler, sampler_steps=6, guidance=guidance)
    draw(base, **settings.options)
    assert sum(asked) == len(PROMPTS) * settings.forwards


def test_the_same_call_draws_the_same_bytes_whatever_the_global_generator(tiny_base):
    one = draw(tiny_base(), steps=4)
    torch.manual_seed(5)
    assert (one == draw(tiny_base(), steps=4)).all()


def test_every_option_matters(tiny_base):
    base = tiny_base()
    one = draw(base, steps=6)
    for option in ({"sampler": "dpm++"}, {"steps": 5}, {"guidance": 2.0}):
        assert apart(one, draw(base, **{"steps": 6, **option})) > 3
    assert apart(one, draw(base, seeds=(17, 18, 17), steps=6)) > 3


@pytest.mark.parametrize(("steps", "calls"), [(50, 50), (20, 20)])
def test_ddim_asks_the_denoiser_once_a_step(monkeypatch, steps, calls):
    base = ToyBase()
    asked = []

    def counted(noisy, timestep, condition):
        asked.append((len(noisy), int(timestep[0])))
        return torch.zeros_like(noisy)

    monkeypatch.setattr(base, "denoise", counted)
    draw(base, steps=steps)
    assert [count for count, _ in asked] == [6] * calls  # three pictures, with and without prompt
    timesteps = [timestep for _, timestep in asked]
    assert timesteps == sorted(set(timesteps), reverse=True)
    assert 1000 - 1000 // steps <= timesteps[0] < 1000


def test_guidance_one_asks_only_for_the_prompt(monkeypatch):
    base = ToyBase()
    counts = []
    whole = base.denoise

    def counted(noisy, timestep, condition):
        counts.append((len(noisy), len(condition)))
        return whole(noisy, timestep, condition)

    monkeypatch.setattr(base, "denoise", counted)
    draw(base, steps=3, guidance=1.0)
    assert counts == [(3, 3)] * 3


def test_latents_are_never_clipped():
    """Diffusers' DDIM clips to [-1, 1] unless the config says otherwise; latents are larger."""
    base = ToyBase()
    for config in ({}, {"clip_sample": True}):
        settings = {key: v for key, v in base.scheduler_config.items() if key != "clip_sample"}
        solver = sample.scheduler("ddim", {**settings, **config})
        solver.set_timesteps(50)
        latents = torch.full((1, 3, 4, 4), 3.0)
        clean = 3.0 / float(solver.alphas_cumprod[980]) ** 0.5
        found = solver.step(torch.zeros_like(latents), 980, latents).pred_original_sample
        assert float(found.max()) == pytest.approx(clean)


def test_the_bases_own_schedule_is_kept():
    config = {
        "beta_start": 0.001,
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "num_train_timesteps": 500,
        "prediction_type": "v_prediction",
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.8.0",
    }
    for sampler in get_args(sample.Sampler):
        solver = sample.scheduler(sampler, config)
        assert {key: solver.config[key] for key in config if not key.startswith("_")} == {
            key: value for key, value in config.items() if not key.startswith("_")
        }
    dpm = sample.scheduler("dpm++", config).config
    assert (dpm["algorithm_type"], dpm["solver_order"]) == ("dpmsolver++", 2)


def test_an_unknown_sampler_is_refused_and_the_known_named():
    with pytest.raises(SettingsError, match=r"'euler'; known: ddim, dpm\+\+, pndm") as caught:
        draw(ToyBase(), sampler="euler")
    assert caught.value.exit_code == 2


def test_pictures_come_in_batches_as_they_are_drawn(monkeypatch):
    base, asked = ToyBase(), []
    whole = base.decode
    monkeypatch.setattr(
        base, "decode", lambda latents: asked.append(len(latents)) or whole(latents)
    )
    options: dict[str, Any] = {"sampler": "ddim", "steps": 2, "guidance": 2.0}
    with Session(base) as session:
        batches = sample.draw_batches(session, ["a"] * 19, range(19), **options)
        assert asked == []
        first = next(batches)
        assert asked == [16]
        together = np.concatenate([first, *batches])
    assert asked == [16, 3]
    assert (together == draw(base, ["a"] * 19, range(19), **options)).all()


def test_fewer_large_pictures_are_drawn_together():
    base = ToyBase()
    assert sample.batch_for(base) == 16
    base.latent_shape = (4, 64, 64)
    assert sample.batch_for(base) == 8


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_are_no_picture(monkeypatch, bad):
    base = ToyBase()
    whole = base.denoise
    monkeypatch.setattr(base, "denoise", lambda *given: whole(*given) * bad)
    with pytest.raises(DivergedError, match=r"'a photo of dog'.*--precision fp32") as caught:
        draw(base, steps=2)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("sampler", get_args(sample.Sampler))
@pytest.mark.parametrize("steps", [0, 1001, 10**9])
def test_more_steps_than_the_schedule_has_are_refused(sampler, steps):
    with pytest.raises(SettingsError, match=r"schedule of 1000 timesteps.*--steps"):
        draw(ToyBase(), sampler=sampler, steps=steps)


def test_a_step_after_the_schedules_last_is_refused(tiny_base):
    """This base's schedule begins at its second timestep: 1000 steps would end behind its last."""
    with pytest.raises(SettingsError, match="1000 steps of ddim"):
        draw(tiny_base(), steps=1000)
