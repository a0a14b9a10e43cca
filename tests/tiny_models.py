"""Fixtures that several test modules share: tiny models, built once a session."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rarebooth.base import Base

# diffusers takes seconds to import: fixtures import what needs it, so that other tests start soon.


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Gives a folder with a tiny model, "epsilon" or "v_prediction"; tests leave it as it is."""
    from tiny import build_folder

    folders: dict[str, Path] = {}

    def folder(prediction: str = "epsilon") -> Path:
        if prediction not in folders:
            place = tmp_path_factory.mktemp("bases") / f"tiny-{prediction}"
            folders[prediction] = build_folder(place, prediction=prediction)
        return folders[prediction]

    return folder


@pytest.fixture(scope="session")
def tiny_base(tiny_folder: Callable[..., Path]) -> Callable[..., Base]:
    """Gives a tiny base on the CPU, loaded once; borrow it with Session and it stays as it was."""
    from rarebooth.bases.sd import StableDiffusion

    bases: dict[str, Base] = {}

    def base(prediction: str = "epsilon") -> Base:
        if prediction not in bases:
            bases[prediction] = StableDiffusion.load(tiny_folder(prediction), "tiny", "cpu")
        return bases[prediction]

    return base


@pytest.fixture(scope="session")
def clip_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Gives a folder with CLIP's real vocabulary, padding as asked; skips where it is absent."""
    source = os.environ.get("RAREBOOTH_CLIP_BPE")
    if not source or not Path(source).is_file():
        pytest.skip("RAREBOOTH_CLIP_BPE does not name CLIP's bpe_simple_vocab_16e6.txt.gz")
    from tiny import build_tokenizer, clip_merges

    merges = clip_merges(Path(source))

    def folder(pad: str) -> Path:
        place = tmp_path_factory.mktemp("clip") / "tokenizer"
        return build_tokenizer(place, merges, pad=pad)

    return folder


@pytest.fixture
def copied_folder(tiny_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may break."""
    return Path(shutil.copytree(tiny_folder(), tmp_path / "model"))
