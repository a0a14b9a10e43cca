"""A tiny model as diffusers and transformers load it, and the arithmetic that their scripts share.

Nothing here calls rarebooth's own arithmetic: only what was drawn, a ``Batch``, is taken from it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor
from torch.nn.functional import mse_loss
from transformers import CLIPTextModel, CLIPTokenizer

from rarebooth.base import Batch, Session
from rarebooth.class_images import Source

FIELDS = tuple(item.name for item in fields(Batch))


class Reference:
    """The networks of a folder, frozen; a test says what is to be trained."""

    def __init__(self, folder: Path) -> None:
        self.vae: Any = AutoencoderKL.from_pretrained(folder / "vae")
        self.unet: Any = UNet2DConditionModel.from_pretrained(folder / "unet")
        self.text: Any = CLIPTextModel.from_pretrained(folder / "text_encoder")
        self.tokenizer: Any = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.scheduler: Any = DDPMScheduler.from_pretrained(folder / "scheduler")
        for network in (self.vae, self.unet, self.text):
            network.requires_grad_(False).eval()

    def add_words(self, words: Sequence[str], like: str) -> list[int]:
        """Rows for new words at the end of the table, each a copy of a known word's."""
        [row] = self.tokenizer.encode(like, add_special_tokens=False)
        self.tokenizer.add_tokens(list(words))
        self.text.resize_token_embeddings(len(self.tokenizer), mean_resizing=False)
        rows: list[int] = self.tokenizer.convert_tokens_to_ids(list(words))
        with torch.no_grad():
            self.table[rows] = self.table[row].clone()
        return rows

    @property
    def table(self) -> Tensor:
        """The input embeddings, [V, D]."""
        return self.text.get_input_embeddings().weight

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """What the text encoder says of prompts that are padded to full length, [B, L, D]."""
        ids = self.tokenizer(
            list(prompts), padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).input_ids
        return self.text(ids)[0]

    def latents(self, images: np.ndarray, photo: Tensor, encoding: Tensor) -> Tensor:
        """Draws from the autoencoder's posterior of these images, scaled."""
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            drawn = self.vae.encode(pixels).latent_dist
        return (drawn.mean[photo] + drawn.std[photo] * encoding) * self.vae.config.scaling_factor

    def loss(self, images: np.ndarray, batch: Batch, prompt: str) -> Tensor:
        """The mean squared error on photos that one prompt tells of."""
        clean = self.latents(images, batch.photo, batch.encoding)
        answer = self.answer(clean, batch, self.encode([prompt] * len(clean)))
        return mse_loss(answer, batch.noise)

    def loss_with_prior(
        self,
        images: np.ndarray,
        pictures: np.ndarray,
        batch: Batch,
        prompts: tuple[str, str],
        weight: float,
    ) -> Tensor:
        """The scripts' way: photos, then class images, through the U-Net at once, and apart again.

        In the batch they alternate, and class images are counted on from the photos.
        """
        one, other = rows(batch, slice(0, None, 2)), rows(batch, slice(1, None, 2))
        clean = torch.cat(
            [
                self.latents(images, one.photo, one.encoding),
                self.latents(pictures, other.photo - len(images), other.encoding),
            ]
        )
        both = Batch(*(torch.cat([getattr(one, n), getattr(other, n)]) for n in FIELDS))
        said = self.encode([prompt for prompt in prompts for _ in one.photo])
        answer, class_answer = self.answer(clean, both, said).chunk(2)
        goal, class_goal = both.noise.chunk(2)
        return mse_loss(answer, goal) + weight * mse_loss(class_answer, class_goal)

    def answer(self, clean: Tensor, batch: Batch, condition: Tensor) -> Tensor:
        """What the U-Net answers for the noised latents; the goal is the noise."""
        noisy = self.scheduler.add_noise(clean, batch.noise, batch.timestep)
        return self.unet(noisy, batch.timestep, condition, return_dict=False)[0]


def rows(batch: Batch, which: slice) -> Batch:
    """Some samples of a batch."""
    return Batch(*(getattr(batch, name)[which] for name in FIELDS))


def class_pictures(size: int, count: int = 2) -> np.ndarray:
    """Noise that stands for class images."""
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


class Noise(Source):
    """Class images that need not be drawn."""

    def __call__(self, session: Session, prompt: str, count: int) -> np.ndarray:
        return class_pictures(session.base.size, count)


class Loop:
    """The scripts' loop: backward, clip, AdamW. Remembers losses, norms and the least gradients."""

    def __init__(
        self, weights: Mapping[str, Tensor], lr: float, decay: float, clip: float = torch.inf
    ) -> None:
        self.weights = {name: weight.requires_grad_() for name, weight in weights.items()}
        self.start = {name: weight.detach().clone() for name, weight in weights.items()}
        self.losses: list[float] = []
        self.norms: list[float] = []
        self._least = {name: torch.full_like(weight, torch.inf) for name, weight in weights.items()}
        self._clip = clip
        self._optimiser = torch.optim.AdamW(
            list(self.weights.values()),
            lr=lr,
            betas=(0.9, 0.999),
            eps=1e-8,
            weight_decay=decay,
            foreach=False,
        )

    def step(self, *losses: Tensor, correct: Callable[[], None] = lambda: None) -> None:
        """One update by losses whose mean counts; ``correct`` may change the gradients."""
        for loss in losses:
            (loss / len(losses)).backward()
        correct()
        self.losses.append(sum(float(loss.detach()) for loss in losses) / len(losses))
        norm = torch.nn.utils.clip_grad_norm_(list(self.weights.values()), self._clip)
        self.norms.append(float(norm))
        for name, weight in self.weights.items():
            assert weight.grad is not None
            self._least[name] = torch.minimum(self._least[name], weight.grad.abs())
        self._optimiser.step()
        self._optimiser.zero_grad()

    def require_same_end(self, found: Mapping[str, Tensor], least: float = 1e-5) -> None:
        """All weights ended where these did.

        Adam makes whole steps of rounding errors where a gradient is almost zero, so the weights
        that always had more than ``least`` must agree each, and all of them together.
        """
        assert found.keys() == self.weights.keys()
        off = way = clear = 0.0
        for name, weight in self.weights.items():
            moved = (weight - self.start[name]).detach()
            error = (found[name] - weight).detach()
            firm = self._least[name] > least
            clear += int(firm.sum())
            assert bool((error[firm].abs() <= 1e-2 * moved.abs().max()).all()), name
            off += float(error.square().sum())
            way += float(moved.square().sum())
        assert clear > 0.5 * sum(weight.numel() for weight in self.weights.values())
        assert off < 1e-5 * way
