"""The networks that the pretraining trains, as small as they can be: for pictures of 16 px."""

from typing import Any

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, ViTConfig, ViTModel

from rarebooth.pretrain.denoiser import Denoiser
from rarebooth.pretrain.tokenizer import POSITIONS

SIZE = 16


def tiny_autoencoder(size=SIZE) -> Any:
    build: Any = AutoencoderKL
    return build(
        sample_size=size,
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )


def tiny_denoiser(words):
    unet = UNet2DConditionModel(
        sample_size=4,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=1,
    )
    config = CLIPTextConfig(
        vocab_size=len(words.tokens),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=24,
        bos_token_id=words.begin,
        eos_token_id=words.end,
        pad_token_id=words.end,
    )
    return Denoiser(unet, CLIPTextModel(config))


def tiny_clip(words) -> Any:
    marks = {
        "vocab_size": len(words.tokens),
        "bos_token_id": words.begin,
        "eos_token_id": words.end,
        "pad_token_id": words.end,
    }
    small = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": 8,
    }
    return CLIPModel(
        CLIPConfig(
            text_config={**small, **marks, "max_position_embeddings": POSITIONS},
            vision_config={**small, "image_size": SIZE, "patch_size": 8},
            projection_dim=8,
        )
    )


def tiny_dino() -> Any:
    config = ViTConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=SIZE,
        patch_size=8,
    )
    return ViTModel(config, add_pooling_layer=False)
