"""Drawing: prompts and seeds in, pictures out.

A picture is a function of its prompt and its own seed, whatever it is batched with: its first noise
is drawn by a generator of its own, as ``diffusers`` does with one generator a picture.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from torch import Tensor

from rarebooth.base import Base, Session
from rarebooth.errors import DivergedError, SettingsError
from rarebooth.process import sent

Sampler = Literal["ddim", "dpm++", "pndm"]
BATCH = 8
"""Pictures drawn together: a compromise between speed and memory."""

SMALL, SMALL_BATCH = 32 * 32, 16
"""Places of latents so few that memory does not matter, and the batch that is fastest then."""


def scheduler(sampler: str, config: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """The diffusers scheduler for a sampler's name, with the base's own noise schedule.

    "ddim": Song et al. 2021, eta 0. "dpm++": DPM-Solver++ 2M, Lu et al. 2022. "pndm": Liu et al.
    2022 without its Runge-Kutta steps, what Stable Diffusion's own folders name.
    """
    settings = {key: value for key, value in config.items() if not key.startswith("_")}
    if sampler == "ddim":
        settings.setdefault("timestep_spacing", "leading")
        settings["clip_sample"] = False  # diffusers' default, which is meant for pixels
        return DDIMScheduler.from_config(settings)
    if sampler == "dpm++":
        settings["timestep_spacing"] = "linspace"
        return DPMSolverMultistepScheduler.from_config(settings)
    if sampler == "pndm":
        settings["skip_prk_steps"] = True
        return PNDMScheduler.from_config(settings)
    known = ", ".join(get_args(Sampler))
    raise SettingsError(f"Unknown sampler {sampler!r}; known: {known}.")


def draw(
    session: Session,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    sampler: str = "ddim",
    steps: int = 50,
    guidance: float = 7.5,
) -> np.ndarray:
    """Draw one picture for each (prompt, seed) pair: uint8 [N, size, size, 3].

    ``guidance``: classifier-free guidance scale (Ho and Salimans 2022); 1 switches it off. Raises
    SettingsError for a sampler that is unknown, or takes no such number of steps, and DivergedError
    where the base's answers stop being finite numbers.
    """
    drawn = draw_batches(session, prompts, seeds, sampler=sampler, steps=steps, guidance=guidance)
    return np.concatenate(list(drawn))


def batch_for(base: Base) -> int:
    """How many pictures of a base are drawn together."""
    _, height, width = base.latent_shape
    return SMALL_BATCH if height * width <= SMALL else BATCH


def draw_batches(
    session: Session,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    sampler: str,
    steps: int,
    guidance: float,
) -> Iterator[np.ndarray]:
    """The pictures of ``draw`` in order, some at a time, each as soon as it is drawn."""
    _require_steps(sampler, session.base.scheduler_config, steps)
    together = batch_for(session.base)
    for start in range(0, len(prompts), together):
        part = slice(start, start + together)
        solver = scheduler(sampler, session.base.scheduler_config)
        yield _draw_batch(session, prompts[part], seeds[part], solver, steps, guidance)


def _require_steps(sampler: str, config: Mapping[str, Any], steps: int) -> None:
    """Raise SettingsError for more steps than the base's noise schedule has timesteps, or none."""
    solver = scheduler(sampler, config)
    last = int(solver.config.num_train_timesteps) - 1
    if 1 <= steps <= last + 1:
        solver.set_timesteps(steps)
        # A schedule can begin at its second timestep, and then its last is one step early.
        if int(solver.timesteps.max()) <= last:
            return
    raise SettingsError(
        f"{steps} steps of {sampler} were asked for, and this base has a noise schedule of "
        f"{last + 1} timesteps. Give at least 1 and fewer than that with --steps; 50 are usual."
    )


@torch.no_grad()
def _draw_batch(
    session: Session,
    prompts: Sequence[str],
    seeds: Sequence[int],
    solver: Any,  # noqa: ANN401
    steps: int,
    guidance: float,
) -> np.ndarray:
    latents = _latents(session, prompts, seeds, solver, steps, guidance)
    if not bool(torch.isfinite(latents).all()):
        raise DivergedError(
            f"Drawing {prompts[0]!r} gave numbers that are not finite, so there is no picture. "
            "Use --precision fp32 or a smaller --guidance, or draw an earlier --checkpoint."
        )
    return session.base.decode(latents)


def _latents(
    session: Session,
    prompts: Sequence[str],
    seeds: Sequence[int],
    solver: Any,  # noqa: ANN401
    steps: int,
    guidance: float,
) -> Tensor:
    """What is to be decoded, [N, C, h, w]; from step to step the host never waits for a GPU."""
    base = session.base
    condition = session.condition(prompts)
    guided = guidance != 1.0
    if guided:
        condition = torch.cat([session.condition([""]).expand_as(condition), condition])
    noise = [
        torch.randn(base.latent_shape, generator=torch.Generator().manual_seed(seed))
        for seed in seeds
    ]
    # Solvers look up their constants on the CPU; with timesteps on a GPU each look is a wait.
    solver.set_timesteps(steps)
    told = sent(solver.timesteps.long(), base.device)
    latents = sent(torch.stack(noise), base.device) * solver.init_noise_sigma
    for timestep, number in zip(solver.timesteps, told, strict=True):
        given = torch.cat([latents, latents]) if guided else latents
        given = solver.scale_model_input(given, timestep)
        answer = base.denoise(given, number.expand(len(given)), condition)
        if guided:
            empty, asked = answer.chunk(2)
            answer = empty + guidance * (asked - empty)
        latents = solver.step(answer, timestep, latents).prev_sample
    return latents
