"""A report as a job on disk: evaluated run folders in, one page out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rarebooth.errors import ResourceError, SettingsError
from rarebooth.evaluation import CHOOSING, learnt_photos, read_photos, read_set
from rarebooth.folder import AnyPath, RunFolder
from rarebooth.metric import PictureSet
from rarebooth.metrics.encoders.fetching import cached
from rarebooth.metrics.encoders.judges import open_judges
from rarebooth.photos import Pixels
from rarebooth.protocols import Extent, Protocol
from rarebooth.report import Nearest, RunView, report
from rarebooth.report.view import BASE
from rarebooth.run_files import read_scores, read_steps
from rarebooth.store import writing

PAIRS: Final = 6
"""Pictures that are shown beside the photo they are nearest to."""


def make_report(runs: Sequence[AnyPath], out: AnyPath) -> Path:
    """Write the page of some runs to ``out``; returns it.

    Raises:
        SettingsError: a run that was not evaluated, or a file of one that is damaged.
    """
    out = Path(out)
    page = report([_view(RunFolder(Path(run))) for run in runs])
    with writing(out) as beside:
        beside.write_text(page, encoding="utf-8")
    return out


def _view(folder: RunFolder) -> RunView:
    try:
        scores = read_scores(folder.scores)
    except OSError as error:
        raise SettingsError(
            f"{folder.path} holds no scores that can be read. Make them: rarebooth evaluate "
            f"{folder.path}"
        ) from error
    record = folder.read() or {}
    photos, _ = read_photos(folder)
    learnt = learnt_photos(record, photos)
    view = RunView(
        name=folder.path.resolve().name,
        record=record,
        scores=scores,
        losses=[said for _, said in read_steps(folder.steps)],
        photos=photos,
        pictures=_pictures(folder, scores, photos.shape[1]),
    )
    shown = view.pictures.get(view.shown or "", {})
    compared = photos if learnt is None else learnt
    return replace(view, nearest=_nearest(scores["base"]["name"], shown, compared))


def _pictures(
    folder: RunFolder, scores: Mapping[str, Any], size: int
) -> dict[str, dict[str, PictureSet]]:
    """What the scores were made from, as far as it is still there."""
    extent, noun = Extent(**scores["extent"]), scores["noun"]
    protocols: dict[str, Protocol] = {
        **extent.subject(noun),
        **extent.beside(noun),
        CHOOSING: extent.choosing(),
    }
    found: dict[str, dict[str, PictureSet]] = {}
    for checkpoint in (BASE, *scores["checkpoints"]):
        for name, protocol in protocols.items():
            kept = read_set(folder.drawn(checkpoint, name), protocol, size)
            if kept is not None:
                found.setdefault(checkpoint, {})[name] = kept
    return found


def _nearest(base: str, shown: Mapping[str, PictureSet], photos: Pixels) -> list[Nearest]:
    """The pictures that are most like a photo; none where the judges are not on this machine.

    ``photos``: those that were learnt from, since no other can have been copied.
    """
    if not shown or len(photos) < 2:
        return []
    try:
        dino = open_judges(base, "cpu", lambda _: None, cached).dino
    except (SettingsError, ResourceError):
        return []
    real = dino.images(photos)
    among = real @ real.T
    among.fill_diagonal_(-1)
    found: list[Nearest] = []
    for pictures in (shown[name].flat for name in ("diverse", "simple") if name in shown):
        for picture, likeness in zip(pictures, dino.images(pictures) @ real.T, strict=True):
            best = int(likeness.argmax())
            value = float(likeness[best])
            found.append(Nearest(picture, photos[best], value, value > float(among.max())))
    return sorted(found, key=lambda each: -each.similarity)[:PAIRS]
