"""The diffusion process of a base model: how pictures are noised and what the network is asked for.

``x_t = signal(t) * x_0 + noise(t) * e`` with ``e`` standard normal (Ho et al. 2020, eq. 4). The two
kinds of prediction that Stable Diffusion 1.x and 2.x use are the noise itself (epsilon) and the
velocity ``signal * e - noise * x_0`` (Salimans and Ho 2022, appendix D).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from rarebooth.errors import BaseModelError

Prediction = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True)
class Process:
    """A discrete variance-preserving noising process and its prediction target.

    ``alphas_cumprod``: float32 [T], falling, below 1; the last may be 0 (no signal is left).
    """

    alphas_cumprod: Tensor
    prediction: Prediction

    def __post_init__(self) -> None:
        if self.prediction not in get_args(Prediction):
            raise BaseModelError(
                f"The base model predicts {self.prediction!r}; rarebooth trains models that "
                f"predict {' or '.join(get_args(Prediction))}. Pick another base with --base."
            )

    @property
    def timesteps(self) -> int:
        """The number of training timesteps T."""
        return len(self.alphas_cumprod)

    def levels(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise level of each timestep [B], shaped [B, 1, 1, 1] to multiply pictures."""
        alpha = sent(self.alphas_cumprod, timestep.device)[timestep][:, None, None, None]
        return alpha.sqrt(), (1 - alpha).sqrt()

    def add(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Noise clean latents [B, C, h, w] to their timesteps [B]."""
        signal_level, noise_level = self.levels(timestep)
        return signal_level * clean + noise_level * noise

    def goal(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """What the network should answer for the picture ``add`` made of these arguments."""
        if self.prediction == "epsilon":
            return noise
        signal_level, noise_level = self.levels(timestep)
        return signal_level * noise - noise_level * clean

    def split(self, noisy: Tensor, answer: Tensor, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Turn the network's answer back into (clean, noise): ``add`` and ``goal`` inverted.

        A network that predicts the noise says nothing of the picture where no signal is left.
        """
        signal_level, noise_level = self.levels(timestep)
        if self.prediction == "epsilon":
            return (noisy - noise_level * answer) / signal_level, answer
        return (
            signal_level * noisy - noise_level * answer,
            noise_level * noisy + signal_level * answer,
        )


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device; on a GPU without waiting for the work queued before."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    # From memory that is not pinned CUDA may copy only after the work queued before. Torch hands
    # pinned memory out again only once it has been read.
    return tensor.pin_memory().to(device, non_blocking=True)


def scaled_linear(timesteps: int = 1000, start: float = 0.00085, end: float = 0.012) -> Tensor:
    """Stable Diffusion's noise schedule: alphas_cumprod [T] (Rombach et al. 2022, its code)."""
    betas = torch.linspace(start**0.5, end**0.5, timesteps, dtype=torch.float32) ** 2
    return torch.cumprod(1 - betas, dim=0)
