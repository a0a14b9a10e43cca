"""Builders of tiny random Stable Diffusion folders, as the Hub would hold them.

Nothing in them is trained; what tests learn from them is about code, not pictures. Text encoders
are written in the Hub's spelling ("text_model.embeddings..."): a freshly built CLIPTextModel of
transformers 5.6 and later saves another one, and tests on that would prove the wrong thing.
"""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = (
    *("rarebit", "rare", "a", "an", "the", "photo", "of", "dog", "cat", "backpack", "toy"),
    *("on", "in", "is", "with", "and", "beach", "red", "sks"),
)
"""Words that are one token; "rarebit" brings the sub-word "rare", which CLIP's also has."""


def byte_symbols() -> list[str]:
    """The 256 characters that CLIP's byte-level BPE writes bytes as, in its vocabulary's order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [256 + n for n in range(256 - len(printable))]
    return [chr(code) for code in (*printable, *others)]


def merges_for(words: Iterable[str]) -> list[tuple[str, str]]:
    """Merges that make each ASCII word one token, whatever came before it in the list."""
    merges: list[tuple[str, str]] = []
    for word in words:
        pieces = [*word[:-1], word[-1] + "</w>"]
        for left, right in merges:
            merged: list[str] = []
            for piece in pieces:
                if merged and (merged[-1], piece) == (left, right):
                    merged[-1] += piece
                else:
                    merged.append(piece)
            pieces = merged
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    return merges


def clip_merges(path: Path) -> list[tuple[str, str]]:
    """The merges of OpenAI's file, as its simple_tokenizer.py reads them."""
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    return [(pair[0], pair[1]) for pair in map(str.split, lines[1 : 49152 - 256 - 2 + 1])]


def build_tokenizer(folder: Path, merges: list[tuple[str, str]], *, pad: str = END) -> Path:
    """Write a CLIP tokenizer; SD 2's has the pad "!" in special_tokens_map.json alone."""
    symbols = byte_symbols()
    tokens = [*symbols, *(s + "</w>" for s in symbols), *map("".join, merges), START, END]
    folder.mkdir(parents=True)
    write_json(folder / "vocab.json", {token: number for number, token in enumerate(tokens)})
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **names}
    write_json(folder / "tokenizer_config.json", config)
    write_json(folder / "special_tokens_map.json", {**names, "pad_token": pad})
    return folder


def build_folder(
    folder: Path,
    *,
    prediction: str = "epsilon",
    size: int = 32,
    factor: int = 4,
    dtype: torch.dtype = torch.float32,
    variant: str = "",
    pad: str = END,
    hub_spelling: bool = True,
    seed: int = 0,
) -> Path:
    """Write a whole random model of about 0.6 million parameters; ``variant`` may be ".fp16"."""
    build_tokenizer(folder / "tokenizer", merges_for(WORDS), pad=pad)
    vocabulary = len(json.loads((folder / "tokenizer/vocab.json").read_text(encoding="utf-8")))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=size // factor,
            block_out_channels=(32, 64),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=32,
            attention_head_dim=8,
        )
        blocks = {4: 3, 8: 4}[factor]
        shape: dict[str, Any] = {
            "block_out_channels": (8, 16, 16, 16)[:blocks],
            "down_block_types": ("DownEncoderBlock2D",) * blocks,
            "up_block_types": ("UpDecoderBlock2D",) * blocks,
        }
        vae = AutoencoderKL(**shape, latent_channels=4, norm_num_groups=8, sample_size=size)
        text_encoder: Any = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=vocabulary,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=77,
                bos_token_id=vocabulary - 2,
                eos_token_id=vocabulary - 1,
            )
        )
        # Fresh CLIP embeddings are so small that words would hardly matter to a prompt's encoding.
        text_encoder.get_input_embeddings().requires_grad_(False).weight.normal_(std=0.5)
    write_model(folder, unet, vae, text_encoder, prediction, dtype, variant, hub_spelling)
    return folder


def write_model(
    folder: Path,
    unet: Any,
    vae: Any,
    text_encoder: Any,
    prediction: str,
    dtype: torch.dtype,
    variant: str = "",
    hub_spelling: bool = True,
) -> None:
    """Write networks, their configs, the scheduler's and model_index.json beside a tokenizer."""
    networks: dict[str, Any] = {"unet": unet, "vae": vae, "text_encoder": text_encoder}
    for name, network in networks.items():
        stem = "model" if name == "text_encoder" else "diffusion_pytorch_model"
        prefix = "text_model." if name == "text_encoder" and hub_spelling else ""
        tensors = {prefix + key: value.to(dtype) for key, value in network.state_dict().items()}
        (folder / name).mkdir()
        path = folder / name / f"{stem}{variant}.safetensors"
        save_file(tensors, path, metadata={"format": "pt"})
        if name == "text_encoder":
            network.config.save_pretrained(folder / name)
        else:
            network.save_config(folder / name)
    (folder / "scheduler").mkdir()
    write_json(
        folder / "scheduler" / "scheduler_config.json",
        {
            "_class_name": "PNDMScheduler",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
            "num_train_timesteps": 1000,
            "prediction_type": prediction,
            "set_alpha_to_one": False,
            "skip_prk_steps": True,
            "steps_offset": 1,
        },
    )
    write_json(
        folder / "model_index.json",
        {
            "_class_name": "StableDiffusionPipeline",
            "_diffusers_version": "0.42.1",
            "feature_extractor": [None, None],
            "requires_safety_checker": False,
            "safety_checker": [None, None],
            "scheduler": ["diffusers", "PNDMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )


def write_json(path: Path, content: object) -> None:
    """Write JSON as diffusers does."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
