"""PNG files that say how they were made, and nothing about where or by whom."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rarebooth.artifact import Artifact
from rarebooth.store import writing


def picture_text(prompt: str, seed: int, learnt: Artifact) -> dict[str, str]:
    """What a drawn picture says of its making: prompt, seed, base, subject, checkpoint."""
    return {
        "prompt": prompt,
        "seed": str(seed),
        "base": f"{learnt.header.base.name} {learnt.header.base.digest[:16]}",
        "subject": learnt.digest[:16],
        "checkpoint": learnt.header.checkpoint,
    }


def save_png(path: Path, image: Image.Image, text: Mapping[str, str]) -> None:
    """Write a PNG atomically with these text chunks, and nothing else about its making."""
    chunk = PngInfo()
    for key, value in text.items():
        chunk.add_itxt(f"rarebooth:{key}", value)
    with writing(path) as beside:
        image.save(beside, format="PNG", pnginfo=chunk)
