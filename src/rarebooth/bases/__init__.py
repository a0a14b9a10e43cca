"""The families of base models, and opening one by the name a user typed."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from rarebooth import hub

if TYPE_CHECKING:
    from rarebooth.base import Base

FAMILIES = {"StableDiffusionPipeline": "rarebooth.bases.sd:StableDiffusion"}
"""What model_index.json calls the pipeline, and the class that runs it.

Imported when it is asked for, because torch comes with it.
"""


def _say_nothing(_: str) -> None:
    """Takes a notice and does nothing with it."""


def open_base(
    name: str,
    *,
    device: str = "auto",
    precision: str = "auto",
    resolution: int | None = None,
    revision: str | None = None,
    notice: Callable[[str], None] = _say_nothing,
) -> "Base":
    """Open a base model by alias, folder or Hub id, ready to be borrowed.

    ``device``: auto, cpu, cuda, cuda:N or mps. ``precision``: auto, fp32 or bf16. ``resolution``:
    side of the pictures in pixels, by default the model's own. ``revision`` and ``notice``: as in
    ``hub.find``.

    Raises:
        BaseModelError: the model is unknown, incomplete or of a kind that cannot be trained.
        SettingsError: a device, precision or resolution that cannot be had.
        ResourceError: no room for the download.
    """
    found = hub.find(name, revision=revision, notice=notice)
    module, _, family = FAMILIES[hub.pipeline_kind(found.folder, FAMILIES)].partition(":")
    load: Callable[..., Base] = getattr(import_module(module), family).load
    return load(found.folder, found.name, device, precision, resolution)
