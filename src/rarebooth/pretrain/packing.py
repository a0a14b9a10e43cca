"""The stage ``pack``: a state becomes a folder that Stable Diffusion's pipeline loads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
    StableDiffusionPipeline,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from rarebooth.errors import ResourceError
from rarebooth.pretrain import denoiser, recipe
from rarebooth.pretrain.autoencoder import SCALE, encoder_digest
from rarebooth.pretrain.denoiser import Denoiser, new_denoiser
from rarebooth.pretrain.networks import (
    Autoencoder,
    TextEncoder,
    UNet,
    new_autoencoder,
    new_scheduler,
    parameters,
)
from rarebooth.pretrain.shards import ENCODER, RENDERED, SIZE, WORLDS
from rarebooth.pretrain.tokenizer import Vocabulary, read_vocabulary
from rarebooth.pretrain.training import read_averages, read_curve, read_progress
from rarebooth.store import write_json, writing

HUB_PREFIX: Final = "text_model."
"""transformers 5.6 dropped it from new text encoders; files on the Hub and their readers not."""

_CURVE_POINTS: Final = 20


def pack(
    state: Path,
    out: Path,
    *,
    version: str,
    machine: str,
    new_vae: Callable[[int], Autoencoder] = new_autoencoder,
    new_pair: Callable[[Vocabulary], Denoiser] = new_denoiser,
) -> None:
    """Write the averaged weights of a state to ``out`` as a diffusers folder in float16.

    ``version``: what this base is called ("embedded-1"). ``machine``: what it was trained on, in
    words, for the recipe.

    Raises:
        ResourceError: autoencoder and denoiser do not belong together.
    """
    files = {stage: state / f"{stage}.safetensors" for stage in ("autoencoder", "denoiser")}
    progress = {stage: read_progress(file) for stage, file in files.items()}
    words = read_vocabulary(state / denoiser.TOKENIZER)
    vae = new_vae(progress["autoencoder"]["notes"][SIZE])
    unet, text_encoder = new_pair(words)
    read_averages(files["autoencoder"], vae, "vae")
    read_averages(files["denoiser"], unet, "unet")
    read_averages(files["denoiser"], text_encoder, "text_encoder")
    expected = progress["denoiser"]["notes"][ENCODER]
    if encoder_digest(vae) != expected:
        raise ResourceError(
            f"The encoder in {files['autoencoder']} is {encoder_digest(vae)}, but the denoiser "
            f"learnt latents of {expected}. Pack a state whose two stages were trained together."
        )
    vae.register_to_config(scaling_factor=progress["denoiser"]["notes"][SCALE])
    beside = out.with_name(f".{out.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    _write(beside, vae, unet, text_encoder, state / denoiser.TOKENIZER)
    networks = {"vae": vae, "unet": unet, "text_encoder": text_encoder}
    write_json(
        beside / recipe.FILE, {"version": version, **_recipe(files, progress, networks, machine)}
    )
    shutil.rmtree(out, ignore_errors=True)
    beside.replace(out)


def _write(
    folder: Path,
    vae: Autoencoder,
    unet: UNet,
    text_encoder: TextEncoder,
    tokenizer: Path,
) -> None:
    no_part: Any = None
    pipeline = StableDiffusionPipeline(
        vae=vae.half(),
        unet=unet.half(),
        text_encoder=text_encoder.half(),
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer),
        scheduler=new_scheduler(),
        safety_checker=no_part,
        feature_extractor=no_part,
        image_encoder=no_part,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    written = folder / "text_encoder" / "model.safetensors"
    with writing(written) as beside:
        save_file(hub_spelling(load_file(written)), beside, metadata={"format": "pt"})
    # Otherwise transformers loads it as float16, and diffusers the other parts as float32.
    config = folder / "text_encoder" / "config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    write_json(config, {**settings, "dtype": "float32"})
    shutil.rmtree(folder / "tokenizer")
    read_vocabulary(tokenizer).save(folder / "tokenizer")


def hub_spelling(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A text encoder's weights under the names that every reader knows."""
    return {
        name if name.startswith(HUB_PREFIX) else HUB_PREFIX + name: weight
        for name, weight in weights.items()
    }


def _recipe(
    files: dict[str, Path],
    progress: dict[str, dict[str, Any]],
    networks: dict[str, nn.Module],
    machine: str,
) -> dict[str, Any]:
    made = {stage: _stage(progress[stage], files[stage]) for stage in files}
    notes = progress["denoiser"]["notes"]
    return {
        "worlds": notes[WORLDS],
        "pictures_rendered": notes[RENDERED],
        "machine": machine,
        "torch": torch.__version__,
        "parameters": {name: parameters(network) for name, network in networks.items()},
        **made,
    }


def _stage(progress: dict[str, Any], file: Path) -> dict[str, Any]:
    """Steps of the last training; pictures and minutes of all; a digest of the curve."""
    before = progress["notes"].get(recipe.EARLIER, {"pictures": 0, "minutes": 0})
    curve = read_curve(file)
    points = curve[:: max(1, len(curve) // _CURVE_POINTS)]
    quality = next((line for line in reversed(curve) if "psnr" in line), {})
    return {
        "steps": progress["step"],
        "pictures": before["pictures"] + progress["pictures"],
        "minutes": round(before["minutes"] + progress["seconds"] / 60, 1),
        "loss": [[line["step"], line["loss"]] for line in points],
        **{name: value for name, value in quality.items() if name.startswith("psnr")},
    }
