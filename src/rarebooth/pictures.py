"""PNG files that say how they were made, and nothing about where or by whom."""

import hashlib
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rarebooth.artifact import Artifact
from rarebooth.base import Identity
from rarebooth.settings import DrawSettings
from rarebooth.store import writing

LONGEST_SLUG = 40
"""Letters of a prompt in a file's name: in any script far below the 255 bytes a name may have."""


def drawing_text(base: Identity, size: int, draw: DrawSettings) -> dict[str, str]:
    """What every drawn picture says of its making: base, size and sampler."""
    return {
        "base": f"{base.name} {base.digest[:16]}",
        "size": str(size),
        "sampler": draw.sampler,
        "steps": str(draw.sampler_steps),
        "guidance": str(draw.guidance),
    }


def picture_text(prompt: str, seed: int, learnt: Artifact, draw: DrawSettings) -> dict[str, str]:
    """All that determines a picture of a subject: prompt, seed, subject, base, sampler."""
    return {
        "prompt": prompt,
        "seed": str(seed),
        "subject": learnt.digest[:16],
        "checkpoint": learnt.header.checkpoint,
        **drawing_text(learnt.header.base, learnt.header.size, draw),
    }


def picture_name(text: Mapping[str, str]) -> str:
    """A file name for a picture with this text: two pictures share one only if they are the same.

    For people it holds the prompt, the checkpoint and the seed, for the rest a short digest.
    """
    key = hashlib.sha256(repr(sorted(text.items())).encode()).hexdigest()[:8]
    prompt = _slug(text["prompt"])[:LONGEST_SLUG].strip("-") or "picture"
    return f"{prompt}-{_slug(text['checkpoint'])}-{text['seed']}-{key}.png"


def save_png(path: Path, image: Image.Image, text: Mapping[str, str]) -> None:
    """Write a PNG atomically with these text chunks, and nothing else about its making."""
    chunk = PngInfo()
    for key, value in text.items():
        chunk.add_itxt(f"rarebooth:{key}", value)
    with writing(path) as beside:
        image.save(beside, format="PNG", pnginfo=chunk)


def _slug(text: str) -> str:
    """Letters and digits of any script, in lower case, with single hyphens between."""
    letters = unicodedata.normalize("NFC", text).lower()
    parts = "".join(c if c.isalnum() else "-" for c in letters).split("-")
    return "-".join(part for part in parts if part)
