"""The stage ``judges-pack``: the states become folders that transformers loads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from rarebooth.pretrain import recipe
from rarebooth.pretrain.judges import clip, dino
from rarebooth.pretrain.judges.networks import Clip, Dino, new_clip, new_dino
from rarebooth.pretrain.networks import parameters
from rarebooth.pretrain.tokenizer import Vocabulary, read_vocabulary
from rarebooth.pretrain.training import read_averages, read_curve, read_progress
from rarebooth.store import write_json

_TO_ONE: Final[dict[str, Any]] = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
"""Pixels go to -1..1."""

_LOGGED: Final = frozenset({"step", "seconds", "pictures", "loss", "lr"})
"""What every line of a curve holds."""

_CURVE_POINTS: Final = 20


def pack_clip(
    state: Path,
    tokenizer: Path,
    out: Path,
    *,
    version: str,
    machine: str,
    network: Callable[[Vocabulary], Clip] = new_clip,
) -> None:
    """Write the averaged weights of the CLIP judge to a folder, in float16.

    ``tokenizer``: the folder it was trained with. ``version``: what this judge is called.
    ``machine``: what it was trained on, in words, for the recipe.
    """
    words = read_vocabulary(tokenizer)
    judge = network(words)
    read_averages(state / clip.FILE, judge, "clip")
    edge = judge.config.vision_config.image_size
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": edge}, crop_size={"height": edge, "width": edge}, **_TO_ONE
    )
    made = _recipe(state / clip.FILE, judge, version, machine)
    beside = _write(out, judge, processor, made)
    words.save(beside)
    _replace(beside, out)


def pack_dino(
    state: Path,
    out: Path,
    *,
    version: str,
    machine: str,
    network: Callable[[], Dino] = new_dino,
) -> None:
    """Write the averaged weights of the DINO judge to a folder, in float16; see ``pack_clip``."""
    judge = network()
    read_averages(state / dino.FILE, judge, "dino")
    edge = judge.config.image_size
    processor = ViTImageProcessorPil(size={"height": edge, "width": edge}, **_TO_ONE)
    made = _recipe(state / dino.FILE, judge, version, machine)
    _replace(_write(out, judge, processor, made), out)


def _write(out: Path, judge: Any, processor: Any, made: dict[str, Any]) -> Path:  # noqa: ANN401
    """Write a judge to a folder beside ``out``; returns it."""
    beside = out.with_name(f".{out.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    judge.half().save_pretrained(beside)
    # Otherwise transformers loads it as float16, which a CPU computes slowly and coarsely.
    config = beside / "config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    write_json(config, {**settings, "dtype": "float32"})
    processor.save_pretrained(beside)
    write_json(beside / recipe.FILE, made)
    return beside


def _replace(beside: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    beside.replace(out)


def _recipe(file: Path, judge: nn.Module, version: str, machine: str) -> dict[str, Any]:
    progress, curve = read_progress(file), read_curve(file)
    points = curve[:: max(1, len(curve) // _CURVE_POINTS)]
    measured = [
        {name: value for name, value in line.items() if name not in _LOGGED}
        | {"step": line["step"]}
        for line in curve
        if not line.keys() <= _LOGGED
    ]
    return {
        "version": version,
        "machine": machine,
        "torch": torch.__version__,
        "parameters": parameters(judge),
        **progress["notes"],
        "steps": progress["step"],
        "pictures": progress["pictures"],
        "minutes": round(progress["seconds"] / 60, 1),
        "loss": [[line["step"], line["loss"]] for line in points],
        "measured": measured,
    }
