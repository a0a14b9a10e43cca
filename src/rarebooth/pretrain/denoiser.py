"""The stage ``denoiser``: U-Net and text encoder, together, on latents with fresh captions."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextModel

from rarebooth.errors import SettingsError
from rarebooth.pretrain.autoencoder import SCALE
from rarebooth.pretrain.networks import (
    TextEncoder,
    UNet,
    new_text_encoder,
    new_unet,
    plain_attention,
)
from rarebooth.pretrain.recipe import earlier
from rarebooth.pretrain.shards import ENCODER, Stock, numbers_of, path_of, read_shard
from rarebooth.pretrain.tokenizer import POSITIONS, Vocabulary, build_vocabulary, read_vocabulary
from rarebooth.pretrain.training import Training, half_precision
from rarebooth.process import Process, scaled_linear
from rarebooth.world.captions import caption, split, vocabulary

FILE: Final = "denoiser.safetensors"
TOKENIZER: Final = "tokenizer"

PLAIN_PLACE: Final = "studio"

SILENCE: Final = 0.1
"""How often a picture has no caption, for classifier-free guidance (Ho and Salimans 2022)."""

SNR_LIMIT: Final = 5.0
"""Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy"."""

SNR_FLOOR: Final = 0.25
"""Added to it, so that the noisiest timesteps, which decide the place, keep a say."""

STUDIO_SHARE: Final = 0.45
"""How much of a batch is drawn from the studio, where the toy is all there is to learn.

With a fifth, as the world draws it, places and colours were learnt long before shapes.
"""


FOCUS: Final = 3.0
"""How much more latents weigh where toys mostly stand than at the rim of a picture.

The weight is the same for every picture, so what is learnt does not change, only how soon.
"""


class Denoiser(NamedTuple):
    """The two networks that are trained together."""

    unet: UNet
    text_encoder: TextEncoder


def new_denoiser(words: Vocabulary) -> Denoiser:
    """Both networks, freshly initialised."""
    return Denoiser(new_unet(), new_text_encoder(words))


def train_denoiser(
    data: Path,
    state: Path,
    *,
    minutes: float,
    batch: int = 32,
    lr: float = 8e-4,
    base: Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    networks: Callable[[Vocabulary], Denoiser] = new_denoiser,
) -> Training:
    """Train, or continue, until ``minutes`` of training have passed in all.

    ``base``: a folder whose networks and tokenizer to start from.

    Raises:
        SettingsError: the state was trained on the latents of another encoder.
    """
    torch.manual_seed(seed)
    words = _vocabulary(state, base)
    unet, text_encoder = (network.to(device) for network in networks(words))
    if base is not None:
        weights = load_file(base / "unet" / "diffusion_pytorch_model.safetensors", device=device)
        unet.load_state_dict(weights)
        trained: TextEncoder = CLIPTextModel.from_pretrained(base / "text_encoder")
        text_encoder.load_state_dict(trained.float().state_dict())
    if device == "cpu":
        plain_attention(unet)
        text_encoder.set_attn_implementation("eager")
    unet.train()
    text_encoder.train()
    parts = {"unet": unet, "text_encoder": text_encoder}
    training = Training(state / FILE, parts, minutes=minutes, peak=lr)
    if not training.resume() and base is not None:
        training.notes.update(earlier(base, "denoiser"))
    stock = Stock(data, "latents", device)
    known = training.notes.setdefault(ENCODER, stock.facts[ENCODER])
    if known != stock.facts[ENCODER]:
        raise SettingsError(
            f"{state / FILE} was trained on latents of encoder {known}, but {data} holds those of "
            f"{stock.facts[ENCODER]}. Give the --data it was trained on, or a new --state."
        )
    training.notes[SCALE] = float(stock.facts[SCALE])
    process = Process(scaled_linear(), "v_prediction")
    ids = Encoder(words)
    focus = focus_map(data, stock.tensors["mean"].shape[-1]).to(device)

    studio: list[int] = []

    def refresh() -> None:
        stock.refresh()
        studio[:] = [row for row, scene in enumerate(stock.scenes) if scene.place == PLAIN_PLACE]
        stock.note(training.notes)

    refresh()
    for step in training.steps(refresh):
        key = seed * 1_000_003 + step
        rng = random.Random(key)
        rows = [
            rng.choice(studio)
            if studio and rng.random() < STUDIO_SHARE
            else rng.randrange(len(stock))
            for _ in range(batch)
        ]
        captions = [
            "" if rng.random() < SILENCE else caption(stock.scenes[row], rng) for row in rows
        ]
        generator = torch.Generator(device).manual_seed(key)
        where = torch.tensor(rows, device=device)
        latents = _draw(stock, where, generator) * training.notes[SCALE]
        tokens = ids(captions).to(device)
        loss = denoiser_loss(unet, text_encoder, process, latents, tokens, focus, generator)
        training.learn(loss, batch)
    return training


def denoiser_loss(
    unet: UNet,
    text_encoder: TextEncoder,
    process: Process,
    latents: Tensor,
    tokens: Tensor,
    focus: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Weighted squared error of the velocity of latents [B, 4, 16, 16] told by tokens [B, 24].

    ``focus``: weights of the places in a picture, [16, 16]. The weight of a timestep is
    (min(SNR, 5) + 1/4) / (SNR + 1), that of Hang et al. but for the quarter.
    """
    count, device = len(latents), latents.device
    timestep = torch.randint(0, process.timesteps, (count,), generator=generator, device=device)
    noise = torch.randn(latents.shape, generator=generator, device=device)
    noisy = process.add(latents, noise, timestep)
    with half_precision(device.type):
        prompts = text_encoder(tokens).last_hidden_state
        answer = unet(noisy, timestep, encoder_hidden_states=prompts).sample.float()
    signal_level, noise_level = process.levels(timestep)
    snr = (signal_level / noise_level).square()
    weight = (snr.clamp(max=SNR_LIMIT) + SNR_FLOOR) / (snr + 1)
    error = (answer - process.goal(latents, noise, timestep)).square()
    return (weight * focus * error).mean()


def focus_map(data: Path, size: int) -> Tensor:
    """Weights [size, size] with mean 1, from where toys stand in the first shard of pictures.

    All ones where the folder holds latents only.
    """
    numbers = numbers_of(data, "pictures")
    if not numbers:
        return torch.ones(size, size)
    masks = read_shard(path_of(data, "pictures", numbers[0])).tensors["masks"].float()
    share = functional.adaptive_avg_pool2d(masks.mean(0)[None], size)[0]
    weight = 1 + FOCUS * share / share.max()
    return weight / weight.mean()


class Encoder:
    """Captions to token ids, for texts whose every word is a token; what CLIPTokenizer gives."""

    def __init__(self, words: Vocabulary) -> None:
        self._begin, self._end = words.begin, words.end
        self._ids = {token: number for number, token in enumerate(words.tokens)}

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Token ids int64 [B, 24] of lower-case captions.

        Raises:
            KeyError: a word that is not one token.
        """
        rows = [[self._ids[f"{word}</w>"] for word in split(text)] for text in captions]
        ends = (POSITIONS - 1 - len(row) for row in rows)
        return torch.tensor(
            [[self._begin, *row, *[self._end] * end] for row, end in zip(rows, ends, strict=True)]
        )


def _vocabulary(state: Path, base: Path | None) -> Vocabulary:
    """The vocabulary of a state; the base's, or a new one, if it has none yet."""
    folder = state / TOKENIZER
    if not (folder / "merges.txt").exists():
        known = None if base is None else read_vocabulary(base / TOKENIZER)
        words = build_vocabulary(vocabulary()) if known is None else known
        words.save(folder)
    return read_vocabulary(folder)


def _draw(stock: Stock, rows: Tensor, generator: torch.Generator) -> Tensor:
    mean, deviation = stock.tensors["mean"][rows], stock.tensors["deviation"][rows]
    noise = torch.randn(mean.shape, generator=generator, device=mean.device)
    return mean.float() + deviation.float() * noise
