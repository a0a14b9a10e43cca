"""Weights of an encoder: all of them, and from safetensors alone."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from rarebooth.errors import SettingsError, is_out_of_memory
from rarebooth.quiet import quiet

CONVERTED: Final[Mapping[str, str]] = {
    "openai/clip-vit-base-patch32": "d15b5f29721ca72dac15f8526b284be910de18be",
    "facebook/dino-vits16": "refs/pr/1",
}
"""Revisions that the Hub's own bot added safetensors in: "main" of these holds only a pickle.

transformers would ask the Hub for them at each run; by name they are found in its cache as well.
"""


def load(kind: Any, source: str | Path, **options: Any) -> Any:  # noqa: ANN401  models of transformers
    """A model of transformers from a folder or the Hub, float32, for use alone.

    Raises:
        ValueError: weights that it computes with are missing, and would be random.
        Exception: whatever the libraries raise of a folder that is damaged or no such model.
    """
    with quiet():
        model, report = kind.from_pretrained(
            source,
            revision=CONVERTED.get(str(source), "main"),
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
            **options,
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(f"it lacks {len(missing)} tensors, the first {missing[0]}")
    return model.eval()


@contextmanager
def opening(source: str | Path, what: str, like: str) -> Generator[None, None, None]:
    """Turn whatever goes wrong within into a SettingsError that says what to name instead."""
    try:
        yield
    except Exception as error:  # damaged files fail anywhere in the libraries' code
        if is_out_of_memory(error):
            raise
        raise SettingsError(
            f"{source} cannot be opened as {what}: {error}. Name a folder that holds a whole one "
            f"with its weights in model.safetensors, or a Hub id like {like}; weights in a pickle "
            "are not read: save_pretrained of transformers writes them as safetensors."
        ) from error
