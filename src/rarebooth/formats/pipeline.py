"""A folder in diffusers' layout: whether it names classes, or brings code, that nobody knows."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rarebooth import hub
from rarebooth.bases import FAMILIES
from rarebooth.errors import BaseModelError

INDEX = "model_index.json"

_CLASSES: Mapping[str, re.Pattern[str]] = {
    "diffusers": re.compile(r"UNet2DConditionModel|AutoencoderKL|\w+Scheduler"),
    "transformers": re.compile(
        r"CLIP(TextModel|Tokenizer(Fast)?|FeatureExtractor|ImageProcessor|VisionModelWithProjection)"
    ),
    "stable_diffusion": re.compile(r"StableDiffusionSafetyChecker"),
}
"""What a Stable Diffusion folder may hold, by library; the last is a module of diffusers."""

_CODE = re.compile(rb'"(auto_map|custom_pipelines)"\s*:')
"""How configurations of transformers and diffusers name code that lies beside them."""


def examine(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """What the index says, and sentences on what keeps the folder from being a base."""
    facts: dict[str, Any] = {}
    problems: list[str] = []
    try:
        index = hub.read_json(folder / INDEX)
        facts["pipeline"] = str(index.get("_class_name"))
        parts = {name: value for name, value in index.items() if isinstance(value, list)}
        problems += _strangers(parts)
        hub.pipeline_kind(folder, FAMILIES)
        hub.require_complete(folder)
    except BaseModelError as error:
        problems.append(str(error))
    except RecursionError as error:
        problems.append(f"{INDEX} holds what no index does ({type(error).__name__}).")
    return facts, problems


def brings_code(path: Path, head: bytes) -> bool:
    """Whether a file of such a folder is code, or a configuration that names some."""
    return path.suffix == ".py" or (
        head.lstrip().startswith(b"{") and _CODE.search(head) is not None
    )


def _strangers(parts: Mapping[str, list[Any]]) -> Iterator[str]:
    for name, value in parts.items():
        match value:
            case [None, None]:
                continue
            case [str(library), str(kind)]:
                known = _CLASSES.get(library)
                if known is not None and known.fullmatch(kind):
                    continue
            case _:
                pass
        yield (
            f"{INDEX} names {value!r:.80} for {name!r:.80}, which is no class that a Stable "
            "Diffusion folder is made of; a program that loads it may run code."
        )
