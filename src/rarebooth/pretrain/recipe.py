"""The recipe: what a base was made of, written beside its weights as ``recipe.json``."""

import json
from pathlib import Path
from typing import Any, Final, Literal

FILE: Final = "recipe.json"
EARLIER: Final = "earlier"

Stage = Literal["autoencoder", "denoiser"]


def read_recipe(folder: Path) -> dict[str, Any]:
    """The recipe of a base folder; empty if it has none."""
    file = folder / FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def earlier(base: Path, stage: Stage) -> dict[str, Any]:
    """What a training that starts from a base notes about those before it."""
    known = read_recipe(base).get(stage, {})
    return {EARLIER: {key: known.get(key, 0) for key in ("pictures", "minutes")}}
