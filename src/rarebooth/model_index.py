"""What a ``model_index.json`` may name: the classes that a Stable Diffusion folder is made of.

A program that loads a folder imports whatever stands there, so what is not known is refused.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

FILE: Final = "model_index.json"

KNOWN: Final[Mapping[str, tuple[str, str]]] = {
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
}
"""The parts that are read, each as the one class that it is read as."""

CODE_KEYS: Final = frozenset({"auto_map", "custom_pipelines"})
"""How configurations of transformers and diffusers name code, beside them or elsewhere."""

_CLASSES: Mapping[str, re.Pattern[str]] = {
    "diffusers": re.compile(r"UNet2DConditionModel|AutoencoderKL|[A-Za-z0-9]+Scheduler"),
    "transformers": re.compile(
        r"CLIP(TextModel|Tokenizer(Fast)?|FeatureExtractor|ImageProcessor|VisionModelWithProjection)"
    ),
    "stable_diffusion": re.compile(r"StableDiffusionSafetyChecker"),
}
"""What a Stable Diffusion folder may hold, by library; the last is a module of diffusers."""


def strangers(index: Mapping[str, Any]) -> Iterator[str]:
    """A sentence on each entry of an index that names a class nobody knows."""
    for name, value in index.items():
        match value:
            case [None, None]:
                continue
            case [str(library), str(kind)]:
                known = _CLASSES.get(library)
                if known is not None and known.fullmatch(kind):
                    continue
            case list():
                pass
            case _:
                continue
        yield (
            f"{FILE} names {value!r:.80} for {name!r:.80}, which is no class that a Stable "
            "Diffusion folder is made of; a program that loads it may run code."
        )
