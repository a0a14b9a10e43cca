"""The stage ``autoencoder``: pictures to latents and back.

After ``encoder_time`` of the minutes the encoder is frozen for good, so that latents can be cached
while the decoder goes on learning.
"""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from rarebooth.errors import SettingsError
from rarebooth.pretrain.networks import LATENT_CHANNELS, Autoencoder, new_autoencoder
from rarebooth.pretrain.recipe import earlier
from rarebooth.pretrain.shards import SIZE, Stock
from rarebooth.pretrain.training import LOG, Training, half_precision

FILE: Final = "autoencoder.safetensors"

FROZEN: Final = "frozen_at_step"
SCALE: Final = "scaling_factor"
"""What the training notes once the encoder is frozen."""

KL_WEIGHT: Final = 1e-6
SQUARE_WEIGHT: Final = 2.0
EDGE_WEIGHT: Final = 0.5
ANCHOR_WEIGHT: Final = 0.5
OBJECT_WEIGHT: Final = 2.0
"""Pixels of the toy count this much more: they are a quarter of a picture and what matters."""

_HELD_OUT: Final = 64
_MEASURED: Final = 1024
_AXES: Final = ((0.299, 0.587, 0.114), (1.0, 0.0, -1.0), (0.5, -1.0, 0.5))
"""Luma, red against blue, green against magenta."""
_SPREAD: Final = (0.40, 0.52, 0.29)
"""The standard deviations of those three in 4x4-pooled pictures of the world, in -1..1, about."""


def train_autoencoder(
    data: Path,
    state: Path,
    *,
    minutes: float,
    batch: int = 16,
    lr: float = 8e-4,
    encoder_time: float = 0.5,
    base: Path | None = None,
    thaw: bool = False,
    device: str = "cpu",
    seed: int = 0,
    networks: Callable[[int], Autoencoder] = new_autoencoder,
) -> Training:
    """Train, or continue, until ``minutes`` of training have passed in all.

    ``base``: a folder whose autoencoder to start from; its encoder then stays as it is, unless
    ``thaw`` lets it learn on: latents change their meaning, and a denoiser has to follow.

    Raises:
        SettingsError: pictures of another size than those of ``base``.
    """
    torch.manual_seed(seed)
    stock = Stock(data, "pictures", device)
    size = stock.tensors["images"].shape[1]
    autoencoder = networks(size).to(device)
    if base is not None:
        _check_size(base, size)
        weights = load_file(base / "vae" / "diffusion_pytorch_model.safetensors", device=device)
        autoencoder.load_state_dict(weights)
    training = Training(state / FILE, {"vae": autoencoder}, minutes=minutes, peak=lr)
    if not training.resume() and base is not None:
        training.notes.update(earlier(base, "autoencoder"))
        if not thaw:
            config = base / "vae" / "config.json"
            training.notes[FROZEN] = 0
            training.notes[SCALE] = float(json.loads(config.read_text(encoding="utf-8"))[SCALE])
    if FROZEN in training.notes:
        _fix_encoder(autoencoder)
    training.notes[SIZE] = size
    first_held_out = min(_HELD_OUT, len(stock) // 10)

    def refresh() -> None:
        stock.refresh()
        quality = measure(training.averages["vae"], stock, first_held_out, device)
        training.record(**quality)

    def freeze_in_time() -> None:
        if FROZEN not in training.notes and training.share >= encoder_time:
            _freeze(training, stock, device)

    for step in training.steps(refresh):
        freeze_in_time()
        generator = torch.Generator(device).manual_seed(seed * 1_000_003 + step)
        rows = torch.randint(
            first_held_out, len(stock), (batch,), generator=generator, device=device
        )
        pictures = as_input(stock.tensors["images"][rows])
        masks = stock.tensors["masks"][rows][:, None].float()
        # An encoder that starts from a base has found its colours.
        anchor = max(0.0, 1 - 2 * training.share) if base is None else 0.0
        loss = autoencoder_loss(autoencoder, pictures, masks, anchor, generator)
        training.learn(loss, batch)
    freeze_in_time()  # the last step may have begun before, on a busy machine
    training.record(**measure(training.averages["vae"], stock, first_held_out, device))
    return training


def autoencoder_loss(
    autoencoder: Autoencoder,
    pictures: Tensor,
    masks: Tensor,
    anchor: float,
    generator: torch.Generator,
) -> Tensor:
    """How badly pictures [B, 3, S, S] in -1..1 come back; ``masks`` [B, 1, S, S] are 1 on the toy.

    ``anchor`` (1 to 0) ties the first three latents to colour axes: left alone, the encoder finds
    green against magenta very late.
    """
    with half_precision(pictures.device.type):
        with torch.set_grad_enabled(next(autoencoder.encoder.parameters()).requires_grad):
            latent = autoencoder.encode(pictures).latent_dist
            mean, logvar = latent.mean.float(), latent.logvar.float()
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        again = autoencoder.decode(mean + (0.5 * logvar).exp() * noise).sample.float()
    weight = 1 + OBJECT_WEIGHT * masks
    weight = weight / weight.mean()
    error = again - pictures
    loss = (weight * (error.abs() + SQUARE_WEIGHT * error.square())).mean()
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    loss = loss + EDGE_WEIGHT * edges
    if mean.requires_grad:
        spread = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum((1, 2, 3)).mean()
        loss = loss + KL_WEIGHT * spread
        if anchor > 0:
            goal = colour_axes(pictures, mean.shape[-1])
            loss = loss + ANCHOR_WEIGHT * anchor * functional.l1_loss(mean[:, :3], goal)
    return loss


def colour_axes(pictures: Tensor, size: int) -> Tensor:
    """Three colour axes [B, 3, size, size] of shrunk pictures, each about unit wide."""
    axes = torch.tensor(_AXES, device=pictures.device) / torch.tensor(
        _SPREAD, device=pictures.device
    ).unsqueeze(1)
    small = functional.adaptive_avg_pool2d(pictures, size)
    return torch.einsum("ac,bchw->bahw", axes, small)


def as_input(images: Tensor) -> Tensor:
    """Pictures uint8 [B, S, S, 3] as the autoencoder takes them: [B, 3, S, S] in -1..1."""
    return images.permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()


@torch.no_grad()
def encode(autoencoder: Autoencoder, images: Tensor, device: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [N, 4, 16, 16] of the latents of pictures uint8 [N, S, S, 3]."""
    means: list[Tensor] = []
    deviations: list[Tensor] = []
    for part in images.split(64):
        with half_precision(device):
            latent = autoencoder.encode(as_input(part.to(device))).latent_dist
        means.append(latent.mean.float())
        deviations.append((0.5 * latent.logvar.float()).exp())
    return torch.cat(means), torch.cat(deviations)


@torch.no_grad()
def measure(autoencoder: Autoencoder, stock: Stock, count: int, device: str) -> dict[str, float]:
    """Signal to noise, dB, of the first ``count`` pictures and of the toys in them."""
    images, masks = stock.tensors["images"][:count], stock.tensors["masks"][:count]
    mean, _ = encode(autoencoder, images, device)
    with half_precision(device):
        again = autoencoder.decode(mean).sample.float().clamp(-1, 1)
    square = (again - as_input(images)).square().mean(1) / 4
    toy = masks.float()
    return {
        "psnr": round(-10 * math.log10(float(square.mean())), 2),
        "psnr_toy": round(-10 * math.log10(float((square * toy).sum() / toy.sum())), 2),
    }


def encoder_digest(autoencoder: Autoencoder) -> str:
    """Twelve digits that tell encoders apart, the same for float16 copies of the same weights."""
    digest = hashlib.blake2b(digest_size=6)
    for part in (autoencoder.encoder, autoencoder.quant_conv):
        for weight in part.parameters():
            digest.update(weight.detach().half().cpu().numpy().tobytes())
    return digest.hexdigest()


def _check_size(base: Path, size: int) -> None:
    config = json.loads((base / "vae" / "config.json").read_text(encoding="utf-8"))
    if config["sample_size"] != size:
        raise SettingsError(
            f"{base} draws pictures of {config['sample_size']} px, but the data holds pictures of "
            f"{size} px. Render them with --size {config['sample_size']}, or train without --from."
        )


def _freeze(training: Training, stock: Stock, device: str) -> None:
    """Let the encoder be its moving average from now on, with latents of zero mean and unit spread.

    The first and last layer of the latents' side absorb the change, so pictures stay the same.
    """
    live: Autoencoder = training.networks["vae"]
    average: Autoencoder = training.averages["vae"]
    live.encoder.load_state_dict(average.encoder.state_dict())
    live.quant_conv.load_state_dict(average.quant_conv.state_dict())
    mean, _ = encode(average, stock.tensors["images"][:_MEASURED], device)
    middle, spread = mean.mean((0, 2, 3)), mean.std((0, 2, 3))
    with torch.no_grad():
        for network in (live, average):
            _rescale(network, middle, spread)
        # What is published are float16 weights: the latents must be the ones those give.
        for network in (live, average):
            for part in (network.encoder, network.quant_conv):
                for weight in part.parameters():
                    weight.copy_(weight.half().float())
    mean, _ = encode(average, stock.tensors["images"][:_MEASURED], device)
    training.notes[FROZEN] = training.step
    training.notes[SCALE] = round(1 / float(mean.std()), 5)
    _fix_encoder(live)
    LOG.info("encoder frozen at step %d", training.step)
    training.save()


def _rescale(autoencoder: Autoencoder, middle: Tensor, spread: Tensor) -> None:
    inward, outward = autoencoder.quant_conv, autoencoder.post_quant_conv
    outward.bias += (outward.weight[:, :, 0, 0] * middle).sum(1)
    outward.weight *= spread[None, :, None, None]
    inward.weight[:LATENT_CHANNELS] /= spread[:, None, None, None]
    inward.bias[:LATENT_CHANNELS] = (inward.bias[:LATENT_CHANNELS] - middle) / spread
    inward.bias[LATENT_CHANNELS:] -= 2 * spread.log()


def _fix_encoder(autoencoder: Autoencoder) -> None:
    autoencoder.encoder.requires_grad_(False)
    autoencoder.quant_conv.requires_grad_(False)
