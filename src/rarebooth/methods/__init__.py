"""The methods, by name: one file each and one line here."""

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from rarebooth.errors import SettingsError

if TYPE_CHECKING:
    from rarebooth.method import Method

TABLE = {
    "two-stage": "rarebooth.methods.two_stage:TwoStage",
    "textual-inversion": "rarebooth.methods.textual_inversion:TextualInversion",
    "dreambooth": "rarebooth.methods.dreambooth:DreamBooth",
    "custom-diffusion": "rarebooth.methods.custom_diffusion:CustomDiffusion",
    "hiper": "rarebooth.methods.hiper:HiPer",
    "imagic": "rarebooth.methods.imagic:Imagic",
    "pivotal-lora": "rarebooth.methods.pivotal_lora:PivotalLora",
    "dreambooth-lora": "rarebooth.methods.dreambooth_lora:DreamBoothLora",
}
"""Name -> "module:Class"; loaded on first use, so that listing names imports nothing heavy."""

ENTRY_POINTS = "rarebooth.methods"
"""The group under which other packages offer methods."""


def names() -> tuple[str, ...]:
    """All known method names, ours first."""
    others = (point.name for point in entry_points(group=ENTRY_POINTS))
    return tuple(dict.fromkeys((*TABLE, *others)))


def find(name: str) -> "type[Method]":
    """The method's class; SettingsError for an unknown name."""
    if name in TABLE:
        module, _, attribute = TABLE[name].partition(":")
        return getattr(import_module(module), attribute)
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            return point.load()
    raise SettingsError(f"Unknown method {name!r}; known: {', '.join(names())}.")
