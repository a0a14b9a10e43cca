"""The networks of the embedded base, freshly initialised, in Stable Diffusion's own classes."""

from typing import Any, Final

from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from rarebooth.errors import SettingsError
from rarebooth.pretrain.tokenizer import POSITIONS, Vocabulary

Autoencoder = Any
"""An ``AutoencoderKL``; the annotations in diffusers contradict what its classes do."""

UNet = Any
"""A ``UNet2DConditionModel``."""

TextEncoder = Any
"""A ``CLIPTextModel``."""

PICTURE_SIZE: Final = 64
LATENT_SIZE: Final = 16
LATENT_CHANNELS: Final = 4

_WIDTHS: Final = {64: (32, 64, 128), 128: (32, 64, 64, 112)}
"""Of the autoencoder, by the edge of its pictures; both fit into a base of 44 MB."""

_AUTOENCODER: Final[dict[str, Any]] = {
    "latent_channels": LATENT_CHANNELS,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "mid_block_add_attention": False,  # a tenth of the time, for nothing that could be seen
}

_DENOISER: Final[dict[str, Any]] = {
    "sample_size": LATENT_SIZE,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "block_out_channels": (64, 128, 256),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": 256,
    "attention_head_dim": (1, 2, 4),  # diffusers' name for the number of heads: each is 64 wide
    "use_linear_projection": True,
}

_TEXT_ENCODER: Final[dict[str, Any]] = {
    "hidden_size": 256,
    "projection_dim": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 768,
    "max_position_embeddings": POSITIONS,
}

_SCHEDULE: Final[dict[str, Any]] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "prediction_type": "v_prediction",
}
"""Stable Diffusion's noise schedule with the prediction of its version 2."""


def new_autoencoder(size: int) -> Autoencoder:
    """Pictures [B, 3, size, size] in -1..1 to latents [B, 4, 16, 16]; 2.6 M weights.

    Raises:
        SettingsError: a size other than 64 or 128.
    """
    if size not in _WIDTHS:
        raise SettingsError(
            f"The pictures are {size} px; a base is trained on pictures of "
            f"{' or '.join(map(str, _WIDTHS))} px. Render them anew with --size."
        )
    widths = _WIDTHS[size]
    shape: dict[str, Any] = {
        "sample_size": size,
        "block_out_channels": widths,
        "down_block_types": ("DownEncoderBlock2D",) * len(widths),
        "up_block_types": ("UpDecoderBlock2D",) * len(widths),
    }
    return AutoencoderKL(**_AUTOENCODER, **shape)


def new_unet() -> UNet:
    """The denoiser's U-Net: latents [B, 4, 16, 16] and prompts [B, 24, 256], 16.8 M weights."""
    return UNet2DConditionModel(**_DENOISER)


def new_text_encoder(vocabulary: Vocabulary) -> TextEncoder:
    """The text encoder: token ids [B, 24] to prompts [B, 24, 256], 2.4 M weights."""
    size = len(vocabulary.tokens)
    begin, end = vocabulary.begin, vocabulary.end
    config = CLIPTextConfig(
        **_TEXT_ENCODER, vocab_size=size, bos_token_id=begin, eos_token_id=end, pad_token_id=end
    )
    return CLIPTextModel(config)


def new_scheduler() -> Any:  # noqa: ANN401  a DDIMScheduler
    """The noise schedule that the folder is saved with."""
    return DDIMScheduler(**_SCHEDULE)


def plain_attention(unet: UNet) -> None:
    """Let a U-Net attend by plain matrix products, which train faster than SDPA on a CPU.

    Measured on one core of an AVX-512 machine, batch 32 in bfloat16, forward and backward: 345 ms
    against 500 ms.
    """
    unet.set_attn_processor(AttnProcessor())


def parameters(*networks: nn.Module) -> int:
    """The number of weights of some networks."""
    return sum(weight.numel() for network in networks for weight in network.parameters())
