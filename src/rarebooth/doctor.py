"""What works on this machine, found out by doing it: imports, device, memory, one picture.

Listing versions is not enough: packages that pip calls compatible can still fail at import.
"""

import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Literal

from rarebooth import costs, defaults
from rarebooth.errors import RareboothError

OLDEST_PYTHON = (3, 11)
DISK_WANTED = 1e9
"""Bytes to have free for training the embedded base: its states and checkpoints are small."""
MEMORY_WANTED = 3e9
"""Bytes to have free for training the embedded base: its weights are small, torch is not."""
REAL = "full fine-tuning of Stable Diffusion 2.1"

NEEDED = {
    "torch": (),
    "diffusers.models.unets.unet_2d_condition": ("UNet2DConditionModel",),
    "diffusers.models.autoencoders.autoencoder_kl": ("AutoencoderKL",),
    "transformers": ("CLIPTextModel", "CLIPTokenizer"),
}
"""What a base model needs: these packages import their classes only when they are asked for."""


@dataclass(frozen=True)
class Check:
    """One thing that was tried: "ok", "warn" (works, with a limit) or "fail" (unusable)."""

    name: str
    verdict: Literal["ok", "warn", "fail"]
    found: str


def examine() -> Iterator[Check]:
    """Try everything in turn; what depends on a failed check is left out."""
    yield _python()
    yield _packages()
    imports = _imports()
    yield imports
    yield _memory()
    yield _disk()
    if imports.verdict != "fail":
        yield _device()
        yield _picture()
        yield _hub()


def _python() -> Check:
    version = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info >= OLDEST_PYTHON:
        return Check("python", "ok", version)
    wanted = ".".join(map(str, OLDEST_PYTHON))
    return Check("python", "fail", f"{version}; rarebooth needs {wanted} or newer")


def _packages() -> Check:
    """Every direct dependency, against the floor in rarebooth's own metadata."""
    try:
        requirements = metadata.requires("rarebooth") or []
    except metadata.PackageNotFoundError:
        return Check("packages", "warn", "rarebooth is not installed, only on the path")
    found: list[str] = []
    wrong: list[str] = []
    for requirement in requirements:
        match = re.fullmatch(r"([\w.-]+)>=([\d.]+)", requirement)
        if match is None:  # an extra's
            continue
        name, floor = match.groups()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        found.append(f"{name} {version}")
        if _numbers(version) < _numbers(floor):
            wrong.append(f"{name} is {version}, {floor} or newer is needed")
    if wrong:
        return Check("packages", "fail", f"{'; '.join(wrong)}. Install rarebooth again with pip.")
    return Check("packages", "ok", ", ".join(found))


def _numbers(version: str) -> tuple[int, ...]:
    """The release numbers of a version: "2.13.0+cpu" -> (2, 13, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[^\d.]", version)[0]))


def _imports() -> Check:
    start = time.perf_counter()
    try:
        for module, names in NEEDED.items():
            imported = import_module(module)
            for name in names:
                getattr(imported, name)
    except Exception as error:
        return Check("imports", "fail", _explained(error))
    return Check(
        "imports",
        "ok",
        f"torch, diffusers and transformers, in {time.perf_counter() - start:.1f} s",
    )


def _explained(error: BaseException) -> str:
    """The cause of a failed import, and the way out where it is a known one."""
    causes: list[str] = []
    each: BaseException | None = error
    while each is not None:
        causes.append(f"{type(each).__name__}: {each}".splitlines()[0])
        each = each.__cause__ or each.__context__
    text = " <- ".join(dict.fromkeys(causes))
    if "torchvision" in text:
        return (
            "torchvision is installed and does not match this build of torch, which breaks the "
            "imports of transformers and diffusers. rarebooth does not use it: run `pip uninstall "
            f"torchvision`, or install the build that matches. ({text})"
        )
    return f"{text}. Install rarebooth again in a new environment."


def _memory() -> Check:
    free = _free_memory()
    if free is None:
        return Check("memory", "ok", "this system does not say how much is free")
    text = f"{free / 1e9:.1f} GB free"
    if free < MEMORY_WANTED:
        return Check("memory", "warn", f"{text}; even a rehearsal wants {MEMORY_WANTED / 1e9:g} GB")
    real = costs.SD21_MEMORY_CPU
    return Check("memory", "ok", f"{text}; {_enough(free, real)} on a CPU ({real / 1e9:.1f} GB)")


def _free_memory() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text("ascii")
    except OSError:
        return None
    match = re.search(r"MemAvailable:\s+(\d+) kB", lines)
    return int(match[1]) * 1024 if match else None


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{free / 1e9:.1f} GB free in this folder"
    if not os.access(Path.cwd(), os.W_OK):
        return Check("disk", "warn", f"{text}, which cannot be written; give --out another one")
    if free < DISK_WANTED:
        return Check("disk", "warn", f"{text}; even a rehearsal wants {DISK_WANTED / 1e9:g} GB")
    fetched, run = costs.SD21_DOWNLOAD, costs.SD21_DISK
    real = f"{fetched / 1e9:.0f} GB to download, {run / 1e9:.0f} GB while it trains"
    return Check("disk", "ok", f"{text}; {_enough(free, fetched + run)} ({real})")


def _enough(free: float, wanted: float) -> str:
    return f"{'enough' if free >= wanted else 'not enough'} for {REAL}"


def _device() -> Check:
    import torch

    from rarebooth.bases.device import pick_device, pick_precision

    device = pick_device("auto")
    precision = pick_precision("auto", device)
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        wanted = costs.SD21_MEMORY_GPU
        detail = (
            f"{torch.cuda.get_device_name()}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free; "
            f"{_enough(free, wanted)} (about {wanted / 1e9:.0f} GB, estimated)"
        )
    elif device.type == "mps":
        detail = "the GPU of this Mac"
    else:
        detail = f"{torch.get_num_threads()} threads; real bases want a GPU"
    return Check(
        "device", "ok", f"{device.type}, {precision} ({detail}; torch {torch.__version__})"
    )


def _picture() -> Check:
    """Load the embedded base and draw with it."""
    from rarebooth import sample
    from rarebooth.base import Session
    from rarebooth.bases import open_base
    from rarebooth.settings import preset_for

    start = time.perf_counter()
    try:
        base = open_base(defaults.EMBEDDED)
        loaded = time.perf_counter()
        draw = preset_for(defaults.EMBEDDED).draw
        with Session(base) as session:
            picture = sample.draw(session, ["a photo of a dog"], [0], **draw.options)[0]
    except (RareboothError, RuntimeError, MemoryError) as error:
        return Check("picture", "fail", f"the embedded base could not draw: {error}")
    drawn = time.perf_counter()
    if picture.std() == 0:
        return Check("picture", "fail", "the embedded base drew a picture of one colour")
    return Check(
        "picture",
        "ok",
        f"the embedded base loaded in {loaded - start:.1f} s and drew {base.size} x {base.size} "
        f"pixels in {drawn - loaded:.1f} s",
    )


def _hub() -> Check:
    from huggingface_hub import constants, is_offline_mode, try_to_load_from_cache

    from rarebooth.hub import ALIASES

    def is_cached(repository: str) -> bool:
        return isinstance(try_to_load_from_cache(repository, "model_index.json"), str)

    here = [alias for alias, mirrors in ALIASES.items() if any(map(is_cached, mirrors))]
    state = "offline (HF_HUB_OFFLINE)" if is_offline_mode() else "downloads allowed when asked for"
    cached = f"real bases here: {', '.join(here) or 'none'}"
    folder = Path(constants.HF_HUB_CACHE)
    # A bug report shows this line, and the names of folders may be their owner's.
    home = Path.home()
    inside = folder.is_relative_to(home)
    shown = f"~/{folder.relative_to(home).as_posix()}" if inside else "elsewhere (HF_HOME)"
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    if not os.access(existing, os.W_OK):
        return Check("hub", "warn", f"{state}; {cached}; {shown} cannot be written: set HF_HOME")
    return Check("hub", "ok", f"{state}; {cached}; cache {shown}")
