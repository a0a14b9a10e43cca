"""The smallest base that keeps the contract: for tests of the engine, which need no real family."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from rarebooth.base import Base, Identity, Posterior
from rarebooth.errors import SettingsError
from rarebooth.process import Process, scaled_linear
from rarebooth.subject import Photo, Subject

WIDTH = 8


class ToyDenoiser(nn.Module):
    """Looks at the picture, the time and the mean of the prompt, and at nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 6, 3, padding=1)
        self.listen = nn.Linear(WIDTH, 6)
        self.answer = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, noisy: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        heard = self.listen(condition.mean(dim=1)) + timestep[:, None] / 1000
        return self.answer(torch.tanh(self.look(noisy) + heard[:, :, None, None]))


class ToyBase(Base):
    """Pictures of 8 x 8 pixels, latents of 4 x 4, and words whose vectors follow from spelling."""

    def __init__(self, prediction: str = "epsilon", name: str = "toy") -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            self._modules = {"denoiser": ToyDenoiser(), "text": nn.Linear(WIDTH, WIDTH)}
        for module in self._modules.values():
            module.requires_grad_(False)
        self._originals = {
            part: {key: value.clone() for key, value in module.named_parameters()}
            for part, module in self._modules.items()
        }
        self.identity = Identity(name, "toy", hashlib.sha256(name.encode()).hexdigest())
        self.process = Process(scaled_linear(), prediction)  # pyright: ignore[reportArgumentType]
        self.size = 8
        self.latent_shape = (3, 4, 4)
        self.device = torch.device("cpu")

    @property
    def scheduler_config(self) -> Mapping[str, object]:
        return {
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "num_train_timesteps": 1000,
            "prediction_type": self.process.prediction,
            "clip_sample": False,
        }

    def posterior(self, images: np.ndarray) -> Posterior:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        mean = nn.functional.avg_pool2d(pixels, 2)
        return Posterior(mean, torch.full_like(mean, 0.1))

    def decode(self, latents: Tensor) -> np.ndarray:
        pixels = nn.functional.interpolate(latents, scale_factor=2)
        unit = (pixels / 2 + 0.5).clamp(0, 1)
        return (unit * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()

    def word(self, word: str) -> Tensor:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
        return torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(seed))

    def vocabulary(self) -> Mapping[str, int]:
        return {"a</w>": 0, "photo</w>": 1, "of</w>": 2, "dog</w>": 3}

    def token_count(self, text: str) -> int:
        return len(text.split())

    def cross_attention(self) -> Sequence[str]:
        return ["listen.weight"]

    def attention_layers(self, part: str, *, gates: bool = False) -> Sequence[str]:
        return {"denoiser": ("listen",), "text": ()}[part]

    def check_token(self, token: str) -> None:
        if " " in token:
            raise SettingsError(f"{token!r} is more than one word.")

    def condition(self, prompts: Sequence[str], tokens: Mapping[str, Tensor]) -> Tensor:
        rows: list[Tensor] = []
        for prompt in prompts:
            words = [*prompt.split(), "<end>"]
            rows.append(sum((self._row(word, tokens) for word in words), torch.zeros(1, WIDTH)))
        return self._modules["text"](torch.stack(rows))

    def _row(self, word: str, tokens: Mapping[str, Tensor]) -> Tensor:
        return tokens[word].sum(0, keepdim=True) if word in tokens else self.word(word)

    def denoise(self, noisy: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        return self._modules["denoiser"](noisy, timestep, condition)

    def part(self, name: str) -> nn.Module:
        if name not in self._modules:
            raise SettingsError(f"There is no part {name!r}.")
        return self._modules[name]

    def recomputing(self) -> AbstractContextManager[object]:
        return nullcontext()

    def release(self) -> None:
        pass

    def compiled(self, notice: Callable[[str], None]) -> AbstractContextManager[object]:
        return nullcontext()

    def original(self, part: str) -> Callable[[str], Tensor]:
        return lambda name: self._originals[part][name]


def toy_subject(size: int = 8, count: int = 3, noun: str = "dog") -> Subject:
    """Photos of one orange square on blue, each a little elsewhere."""
    photos: list[Photo] = []
    for index in range(count):
        pixels = np.empty((size, size, 3), np.uint8)
        pixels[:] = (20, 60, 200)
        edge = size // 4 + index % 2
        pixels[edge : edge + size // 2, edge : edge + size // 2] = (250, 140, 10 + 40 * index)
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        photos.append(Photo(f"{index}.png", digest, pixels, (size, size)))
    return Subject(noun, tuple(photos))
