"""What a whole safetensors file is, told by the names of its tensors and the texts beside them.

The spellings are those of the programs that write them: diffusers (loaders/), kohya's scripts
(networks/lora.py), LyCORIS (lycoris/modules/), Automatic1111 and ComfyUI (comfy/lora.py).
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rarebooth.formats import UNKNOWN, Report
from rarebooth.formats.tensors import Layout, shortened

_ADAPTERS = {
    "LyCORIS": re.compile(
        r"(lora_(unet|te\d?)|lycoris)_.*\.((hada|lokr|oft|glora|bias)_\w+|[ab][12]\.weight|"
        r"on_input|scalar|rescale|[wb]_norm|diff(_b)?)"
    ),
    "kohya": re.compile(r"lora_(unet|te\d?)_.*\.(lora_(up|down|mid)\.weight|alpha|dora_scale)"),
    "PEFT": re.compile(r".+\.(lora_[AB](\.\w+)?\.weight|lora_magnitude_vector(\.[\w.]+)?)"),
    "diffusers": re.compile(r".+(\.lora|_lora|\.lora_linear_layer)\.((up|down)\.weight|alpha)"),
}
"""How each flavour of LoRA calls its tensors; the first that is found names the file."""

_ALPHA = re.compile(r".+\.alpha")
_BUNDLED = re.compile(r"bundle_emb\..+")
_DOWN = re.compile(r".*(lora_down|lora_A(\.\w+)?|\.down)\.weight")

_CHECKPOINTS = {
    "Stable Diffusion XL": "conditioner.embedders.",
    "Stable Diffusion 2": "cond_stage_model.model.",
    "Stable Diffusion 1": "cond_stage_model.transformer.",
}
"""Where whole models keep their text encoders, by family."""

_PARTS = {
    "text encoder": re.compile(r"(text_model\.)?(embeddings|encoder\.layers|final_layer_norm)\..+"),
    "U-Net": re.compile(r"(down_blocks|mid_block|up_blocks|time_embedding|conv_norm_out)\..+"),
    "autoencoder": re.compile(
        r"((encoder|decoder)\.(conv|down|mid|up)_?\w*|(post_)?quant_conv)\..+"
    ),
}
"""What is in the files of a diffusers folder."""

_WIDTHS = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2"}
_XL_EMBEDDING = {"clip_l", "clip_g"}
_A1111_EMBEDDING = frozenset({"emb_params", "*", "string_to_param.*"})
_WORD_TYPES = frozenset({"F32", "F16", "BF16"})
MOST_VECTORS = 75
"""A prompt has no room for more."""

_BASES = ("modelspec.architecture", "ss_base_model_version")
"""Texts that say what a file was trained for."""

_PATH = re.compile(
    r"""(?<![\w.:/~\\+=])(?:[A-Za-z]:[\\/]+|\\\\+|~?/)[\w.-][\w. -]*(?:[\\/]+[\w. -]+)+"""
)
"""A path from the root of a file system, of two steps or more; no part of a URL or of base64."""
MOST_PATHS = 4


def recognise(layout: Layout) -> Report:
    """What the tensors are; a Report of the kind UNKNOWN where no name is known."""
    names = layout.tensors.keys()
    found = (
        _custom_diffusion(names) or _adapter(layout) or _model(names) or _embedding(layout)
    ) or Report(
        UNKNOWN,
        safe=False,
        facts={},
        problems=(
            "It is a whole safetensors file, in which nothing can run, and no tensor in it has a "
            f"name that rarebooth knows: {some(names)}.",
        ),
    )
    base = next((text for key in _BASES if (text := layout.metadata.get(key))), None)
    facts = found.facts if base is None else {**found.facts, "trained for": base}
    return replace(found, facts=facts, problems=(*found.problems, *paths_in(layout)))


def paths_in(layout: Layout) -> tuple[str, ...]:
    """Sentences on names and texts that tell of somebody's disk."""
    found = [
        f"a tensor is named {shortened(name)}"
        for name in layout.tensors
        if name.startswith("/") or ".." in re.split(r"[\\/]", name) or _PATH.match(name)
    ]
    for key, text in layout.metadata.items():
        path = None if text.startswith("data:") else _PATH.search(text)
        if path is not None:
            found.append(f"the text {shortened(key)} holds {shortened(path[0])}")
    more = f"; and {len(found) - MOST_PATHS} more" if len(found) > MOST_PATHS else ""
    told = "; ".join(found[:MOST_PATHS]) + more
    return (f"What looks like a path on somebody's disk: {told}.",) if found else ()


def _custom_diffusion(names: Iterable[str]) -> Report | None:
    layers = [name for name in names if "_custom_diffusion." in name]
    if not layers:
        return None
    facts = {"layers": len(layers)}
    return Report("Custom Diffusion weights", True, facts, _leftover(set(names) - set(layers)))


def _adapter(layout: Layout) -> Report | None:
    names = layout.tensors.keys()
    flavours = {
        flavour: found
        for flavour, spelling in _ADAPTERS.items()
        if (found := {name for name in names if spelling.fullmatch(name)})
    }
    if not flavours:
        return None
    known = set().union(*flavours.values())
    known |= {name for name in names if _ALPHA.fullmatch(name) or _BUNDLED.fullmatch(name)}
    ranks = {
        stored.shape[0]
        for name, stored in layout.tensors.items()
        if _DOWN.fullmatch(name) and stored.shape
    }
    parts = {
        "U-Net": any(re.match(r"(lora_|lycoris_)?unet[._]", name) for name in known),
        "text encoder": any(re.match(r"lora_te\d?_|text_encoder", name) for name in known),
        "embeddings": any(map(_BUNDLED.fullmatch, names)),
    }
    facts: dict[str, Any] = {
        "flavour": next(iter(flavours)),
        "rank": sorted(ranks),
        "changes": [part for part, there in parts.items() if there],
    }
    return Report("LoRA", True, facts, _leftover(names - known))


def _model(names: Iterable[str]) -> Report | None:
    if any(name.startswith("model.diffusion_model.") for name in names):
        families = (
            family
            for family, prefix in _CHECKPOINTS.items()
            if any(name.startswith(prefix) for name in names)
        )
        return Report("whole checkpoint", True, {"family": next(families, UNKNOWN)}, ())
    part = next((p for p, spelling in _PARTS.items() if any(map(spelling.fullmatch, names))), None)
    return None if part is None else Report("part of a model", True, {"part": part}, ())


def _embedding(layout: Layout) -> Report | None:
    names = set(layout.tensors)
    if not names or {stored.dtype for stored in layout.tensors.values()} - _WORD_TYPES:
        return None
    vectors = [s.shape if len(s.shape) == 2 else (1, *s.shape) for s in layout.tensors.values()]
    if any(len(shape) != 2 or not 0 < shape[0] <= MOST_VECTORS for shape in vectors):
        return None
    facts: dict[str, Any] = {
        "vectors": max(shape[0] for shape in vectors),
        "numbers a vector": sorted(shape[1] for shape in vectors),
    }
    if names == _XL_EMBEDDING:
        facts["trained for"] = "Stable Diffusion XL"
    elif len(names) == 1:
        (name,), (_, width) = names, vectors[0]
        facts |= {} if name in _A1111_EMBEDDING else {"word": name}
        facts |= {"trained for": _WIDTHS[width]} if width in _WIDTHS else {}
    else:
        return None
    return Report("textual-inversion embedding", True, facts, ())


def _leftover(names: Iterable[str]) -> tuple[str, ...]:
    left = sorted(names)
    if not left:
        return ()
    return (f"Some tensors belong to nothing that rarebooth knows: {some(left)}.",)


def some(names: Iterable[str]) -> str:
    """The first of some names of unknown origin, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - 3} more" if len(every) > 3 else ""
    return (", ".join(map(shortened, every[:3])) or "it holds none") + more
