"""Which judges look at the pictures of a base."""

from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from PIL.Image import Resampling
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.utils.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from rarebooth import hub
from rarebooth.defaults import EMBEDDED
from rarebooth.errors import BaseModelError, SettingsError
from rarebooth.metric import Judges, Reader
from rarebooth.metrics.encoders import lpips
from rarebooth.metrics.encoders.clip import VIT_B32, ClipEncoder
from rarebooth.metrics.encoders.dino import VIT_S16, DinoEncoder
from rarebooth.metrics.encoders.examiner import open_examiner
from rarebooth.metrics.encoders.fetching import CLIP, DINO, Getting, fetched
from rarebooth.metrics.encoders.pictures import Processor
from rarebooth.metrics.encoders.remembering import RememberingJudge, RememberingTextJudge

# CLIP's class does the same steps; ViT's own cannot crop.
DINO_PIXELS: Final[Processor] = CLIPImageProcessorPil(
    size={"shortest_edge": 256},
    crop_size={"height": 224, "width": 224},
    resample=Resampling.BICUBIC,
    image_mean=IMAGENET_DEFAULT_MEAN,
    image_std=IMAGENET_DEFAULT_STD,
)
"""What published DINO scores feed the network (Kumari et al. 2023, customconcept101/evaluate.py).

The Hub's own settings of it squeeze the picture to 224 pixels, which gives other numbers.
"""


PUBLISHED: Final = ((VIT_B32, CLIP), (VIT_S16, DINO))
"""The judges of published tables, and what their folders hold."""


def open_judges(
    base_name: str,
    device: str = "cpu",
    notice: Callable[[str], None] = lambda _: None,
    get: Getting = fetched,
) -> Judges:
    """The judges of a base: the miniature world's own, or those of published tables.

    ``notice`` is told what ``hub.find`` tells of a base: licence and size before a download, and
    what was recorded. ``get``: ``cached`` for judges that are on this machine or none.

    Raises:
        SettingsError: one is neither on this machine nor can be downloaded, or is damaged.
        ResourceError: no room for the download.
    """
    if base_name == EMBEDDED:
        folder = Path(str(resources.files("rarebooth"))) / "assets" / "judges"
        # No LPIPS: the miniature's scores are the same whatever a machine has installed.
        return _judges(
            ClipEncoder.open(folder / "clip", device),
            DinoEncoder.open(folder / "dino", device),
            (f"{EMBEDDED}/clip", f"{EMBEDDED}/dino"),
            None,
            open_examiner(device),
        )
    clip_folder, dino_folder = _folders(notice, get)
    clip = ClipEncoder.open(clip_folder, device)
    dino = replace(DinoEncoder.open(dino_folder, device), processor=DINO_PIXELS)
    return _judges(clip, dino, (VIT_B32, VIT_S16), lpips.installed(device), None)


def fetch_judges(base_name: str, notice: Callable[[str], None]) -> None:
    """Have the judges of a base on this machine; tells and raises what ``open_judges`` does."""
    if base_name != EMBEDDED:
        _folders(notice, fetched)


def pending(base_name: str) -> list[str]:
    """Which judges of a base would have to be downloaded, each in words; nothing is.

    Raises:
        SettingsError: one is there and damaged.
    """
    if base_name == EMBEDDED:
        return []
    try:
        told = [hub.pending_download((name,), kind) for name, kind in PUBLISHED]
    except BaseModelError as error:
        raise SettingsError(str(error)) from error
    return [each for each in told if each is not None]


def _folders(notice: Callable[[str], None], get: Getting) -> list[Path]:
    try:
        return [get(name, kind, notice) for name, kind in PUBLISHED]
    except BaseModelError as error:
        raise SettingsError(str(error)) from error


def _judges(
    clip: ClipEncoder,
    dino: DinoEncoder,
    names: tuple[str, str],
    distance: lpips.Lpips | None,
    reader: Reader | None,
) -> Judges:
    return Judges(
        RememberingTextJudge(clip, names[0], f"{_steps(clip.processor)}, projected"),
        RememberingJudge(dino, names[1], f"{_steps(dino.processor)}, class token, last layer"),
        distance,
        reader,
    )


def _steps(processor: Any) -> str:  # noqa: ANN401  an image processor of transformers
    """What a processor does to a picture's size, in words."""
    size, way = processor.size, Resampling(processor.resample).name.lower()
    edge = size.shortest_edge
    resized = f"shorter side {edge}" if edge else f"resized to {size.height}x{size.width}"
    crop = f", centre crop {processor.crop_size.height}" if processor.do_center_crop else ""
    return f"{resized} {way}{crop}"
