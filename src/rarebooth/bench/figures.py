"""The paper's Figures 3, 4 and 5 as pictures, from the records of a benchmark alone.

Zeng et al. 2024: likeness in scenes (Figure 3), the class after training (Figure 4), and what
longer training does (Figure 5).
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from rarebooth.photos import Pixels
from rarebooth.sheet import Row, contact_sheet

SHOWN = 3
"""Pictures side by side."""


def likeness(bodies: Mapping[str, Mapping[str, Any]]) -> Image.Image:
    """Figure 3: photos, then each entry's chosen checkpoint by the simple prompt and in two scenes.

    ``bodies``: what records of one subject hold, by the label of the entry.
    """
    rows = [_photos(bodies)]
    for label, body in bodies.items():
        chosen = chosen_of(body)
        kept = body["checkpoints"][chosen]["pictures"]
        rows.append(Row(f"{label}, {chosen} steps", _stack([kept["simple"][0], *kept["scenes"]])))
    return contact_sheet(rows, ("simple prompt", "on the beach", "in the jungle"))


def of_the_class(bodies: Mapping[str, Mapping[str, Any]]) -> Image.Image:
    """Figure 4: photos, then the plain class by the base and by each entry's chosen checkpoint.

    The paper shows all methods after 200 steps; what users have is the checkpoint that is chosen.
    The base's row is missing where no record has it.
    """
    rows = [_photos(bodies)]
    by_the_base = next((kept for body in bodies.values() if (kept := body.get("base_class"))), None)
    if by_the_base:
        rows.append(Row("the class by the base, untrained", _stack(by_the_base)))
    for label, body in bodies.items():
        chosen = chosen_of(body)
        pictures = _stack(body["checkpoints"][chosen]["pictures"]["class"])
        rows.append(Row(f"the class by {label}, {chosen} steps", pictures))
    return contact_sheet(rows)


def longer_training(bodies: Mapping[str, Mapping[str, Any]]) -> Image.Image:
    """Figure 5: photos, then the simple prompt by each entry at each checkpoint."""
    rows = [_photos(bodies)]
    for label, body in bodies.items():
        for name, about in body["checkpoints"].items():
            rows.append(Row(f"{label}, {name} steps", _stack(about["pictures"]["simple"])))
    return contact_sheet(rows)


def chosen_of(body: Mapping[str, Any]) -> str:
    """The steps of the checkpoint that held-out prompts chose."""
    return body["chosen"]["held-out"]


def _photos(bodies: Mapping[str, Mapping[str, Any]]) -> Row:
    body = next(iter(bodies.values()))
    return Row("photos", _stack(body["photos"][:SHOWN]))


def _stack(pictures: Sequence[str]) -> Pixels:
    return np.stack([_opened(picture) for picture in pictures])


def _opened(picture: str) -> Pixels:
    with Image.open(io.BytesIO(base64.b64decode(picture)), formats=["WEBP"]) as image:
        return np.asarray(image.convert("RGB"))
