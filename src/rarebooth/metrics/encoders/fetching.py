"""The judges of real bases: taken from the Hub's cache or fetched, and pinned, as bases are."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from safetensors import SafetensorError, safe_open

from rarebooth import hub
from rarebooth.errors import BaseModelError
from rarebooth.metrics.encoders.clip import VIT_B32

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
PIXELS: Final = "preprocessor_config.json"
VOCABULARY: Final = ("vocab.json", "merges.txt")
BESIDE: Final = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
"""What a CLIP's tokenizer is read from too, where it is there."""

CLIP_CONVERTED: Final = "d15b5f29721ca72dac15f8526b284be910de18be"
"""The commit in which the Hub's converter added safetensors; "main" holds only a pickle."""

OTHERWISE: Final = (
    "Or do without judges: --choose last takes the last checkpoint, and `rarebooth generate` draws "
    "with any."
)


def _kind(needed: Sequence[str], beside: Sequence[str], revisions: Mapping[str, str]) -> hub.Kind:
    def wanted(repository: str, names: Collection[str]) -> list[str]:
        lacking = [name for name in needed if name not in names]
        if lacking:
            raise BaseModelError(
                f"{repository} holds no {lacking[0]}, and rarebooth reads safetensors only. "
                f"{OTHERWISE}"
            )
        return sorted([*needed, *(name for name in beside if name in names)])

    def files(folder: Path) -> list[Path]:
        there = [folder / name for name in (*needed, *beside)]
        return [path for path in there if path.is_file()]

    def require_complete(folder: Path) -> None:
        lacking = [name for name in needed if not (folder / name).is_file()]
        if lacking:
            raise BaseModelError(f"The judge is incomplete: {lacking[0]} is missing. {OTHERWISE}")
        if (folder / hub.ADAPTER).exists():
            raise BaseModelError(
                f"{hub.ADAPTER} would change the judge's weights as they are read. Remove it."
            )
        try:
            with safe_open(folder / WEIGHTS, framework="np"):
                pass  # its header is held against its length
        except SafetensorError as error:
            raise BaseModelError(
                f"{WEIGHTS} of the judge is damaged or was not fetched whole ({error}). Delete "
                f"{(folder / WEIGHTS).resolve()} and start again."
            ) from error

    return hub.Kind(
        noun="judge",
        anchor=CONFIG,
        wanted=wanted,
        require_complete=require_complete,
        files=files,
        otherwise=OTHERWISE,
        revisions=revisions,
        converted=WEIGHTS,
    )


CLIP: Final = _kind((CONFIG, PIXELS, *VOCABULARY, WEIGHTS), BESIDE, {VIT_B32: CLIP_CONVERTED})
# DINO's conversion is no commit that others name: it is looked for, and pinned when it is found.
DINO: Final = _kind((CONFIG, PIXELS, WEIGHTS), (), {})


Getting: TypeAlias = Callable[[str, hub.Kind, Callable[[str], None]], Path]
"""How the folder of a judge is had: ``fetched`` or ``cached``."""


def fetched(repository: str, kind: hub.Kind, notice: Callable[[str], None]) -> Path:
    """The folder of a judge, fetched where it is not here; raises what ``hub.find`` does."""
    return hub.fetch(repository, (repository,), kind, notice).folder


def cached(repository: str, kind: hub.Kind, notice: Callable[[str], None]) -> Path:
    """The folder of a judge that is here; asks no network, and raises BaseModelError otherwise."""
    found = hub.cached(repository, (repository,), kind, notice)
    if found is None:
        raise BaseModelError(f"The judge {repository!r} is not in the cache. {OTHERWISE}")
    return found.folder
