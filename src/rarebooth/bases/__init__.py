"""The families of base models, and opening one by the name a user typed."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from rarebooth import hub
from rarebooth.errors import ResourceError, is_out_of_memory

if TYPE_CHECKING:
    from rarebooth.base import Base

FAMILIES = {"StableDiffusionPipeline": "rarebooth.bases.sd:StableDiffusion"}
"""What model_index.json calls the pipeline, and the class that runs it.

Imported when it is asked for, because torch comes with it.
"""


def open_base(
    name: str,
    *,
    device: str = "auto",
    precision: str = "auto",
    resolution: int | None = None,
    from_file: bool = False,
    notice: Callable[[str], None] = lambda _: None,
) -> "Base":
    """Open a base model by alias, folder or Hub id, ready to be borrowed.

    ``device``: auto, cpu, cuda, cuda:N or mps. ``precision``: auto, fp32 or bf16. ``resolution``:
    side of the pictures in pixels, by default the model's own. ``from_file``: the name is one that
    a file says, and so none of a folder. ``notice`` is told what ``hub.find`` tells, which commit
    of a repository this is, and later of every prompt that the base cuts.

    Raises:
        BaseModelError: the model is unknown, incomplete or of a kind that cannot be trained.
        SettingsError: a device, precision or resolution that cannot be had.
        ResourceError: no room for the download, or too little memory for the model.
    """
    if from_file:
        hub.require_named(name)
    found = hub.find(name, notice=notice)
    if found.origin is not None:
        notice(f"The base {found.name} is {found.origin}.")
    module, _, family = FAMILIES[hub.pipeline_kind(found.folder, FAMILIES)].partition(":")
    load: Callable[..., Base] = getattr(import_module(module), family).load
    try:
        return load(found.folder, found.name, device, precision, resolution, notice)
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            f"The memory is not enough to load the base {found.name!r}. Close other programs, use "
            "another --device, or pick a smaller base with --base; the model's files are sound."
        ) from error
