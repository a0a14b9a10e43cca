"""Weights of an encoder: all of them, and from safetensors alone."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rarebooth.errors import SettingsError, is_out_of_memory
from rarebooth.quiet import quiet


def load(kind: Any, folder: Path, **options: Any) -> Any:  # noqa: ANN401  models of transformers
    """A model of transformers from a folder, float32, for use alone.

    Raises:
        ValueError: weights that it computes with are missing, and would be random.
        Exception: whatever the libraries raise of a folder that is damaged or no such model.
    """
    with quiet():
        model, report = kind.from_pretrained(
            folder,
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
def opening(folder: Path, what: str) -> Generator[None, None, None]:
    """Turn whatever goes wrong within into a SettingsError that says what to do."""
    try:
        yield
    except Exception as error:  # damaged files fail anywhere in the libraries' code
        if is_out_of_memory(error):
            raise
        raise SettingsError(
            f"{folder} cannot be opened as {what}: {error}. Delete {folder} and start again."
        ) from error
