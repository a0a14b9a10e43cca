"""Evaluation as a job on disk: a finished run in, ``scores.json`` and the scored pictures out."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from rarebooth import artifact, choose, scores, store
from rarebooth.artifact import Header
from rarebooth.base import Base, Session
from rarebooth.bases import open_base
from rarebooth.catalogue import cost
from rarebooth.choose import Quality
from rarebooth.delta import Delta
from rarebooth.errors import DivergedError, SettingsError
from rarebooth.evidence import draw_set
from rarebooth.folder import AnyPath, RunFolder, of_last_stage
from rarebooth.methods import find as find_method
from rarebooth.metric import Evidence, Judges, PictureSet
from rarebooth.metrics.encoders.judges import open_judges
from rarebooth.photos import Pixels, mark_in
from rarebooth.pictures import drawing_text, save_png
from rarebooth.probe import learnt_from
from rarebooth.protocols import Extent, Protocol
from rarebooth.report.view import BASE
from rarebooth.run_files import read_scores
from rarebooth.settings import DrawSettings, preset_for
from rarebooth.world.subjects import Individual, marked

CHOOSING: Final = "validation"
"""The name of the pictures that choose a checkpoint."""

LARGEST_SIDE: Final = 4096
"""Pixels a side of a photo as a network saw it: four times what a usual base draws."""


@dataclass
class Evaluator:
    """Draws and scores the checkpoints of one run, and keeps the pictures.

    Pictures that are there already, drawn from the same subject file in the same way, are not drawn
    again. ``preview``: how those are drawn that choose a checkpoint. ``seconds``: what drawing and
    scoring took, in this call alone. ``passes``: of the U-Net for the pictures that it drew.
    """

    folder: RunFolder
    record: Mapping[str, Any]
    noun: str
    photos: Pixels
    individual: Individual | None
    base: Base
    judges: Judges
    draw: DrawSettings
    preview: DrawSettings
    extent: Extent
    seconds: dict[str, float] = field(default_factory=lambda: {"drawing": 0.0, "scoring": 0.0})
    passes: int = 0

    def evaluate(
        self,
        names: Sequence[str],
        progress: Callable[[str, int, int], None],
        notice: Callable[[str], None],
    ) -> dict[str, Any]:
        """Score these checkpoints; ``progress`` is told which is next, and of how many.

        One that cannot be drawn is left out, and ``notice`` is told so. Raises DivergedError where
        that is so of all.
        """
        with Session(self.base) as session:
            beside = self.extent.beside(self.noun)
            progress(BASE, 0, len(names) + 1)
            untouched = self._sets(session, BASE, beside, self.noun, self.base.identity.digest)
            # The subject's prompts with the plain noun: what the base makes of them.
            of_subject = self.extent.subject(self.noun)
            self._sets(session, BASE, of_subject, self.noun, self.base.identity.digest)
            found: dict[str, Any] = {}
            for done, name in enumerate(names, start=1):
                progress(name, done, len(names) + 1)
                try:
                    found[name] = self._scored(session, name, untouched)
                except DivergedError as error:
                    if done == len(names) and not found:
                        raise
                    notice(f"Checkpoint {name} has no scores: {error}")
                session.wear(Delta(()))
        return {**self._about(), **_recommended(self.record), "checkpoints": found}

    def _scored(
        self, session: Session, name: str, untouched: Mapping[str, PictureSet]
    ) -> dict[str, Any]:
        (phrase,), digest = wear(session, self.folder.checkpoint(name))
        drawn = self._sets(session, name, self.extent.subject(self.noun), phrase, digest)
        others = self._sets(session, name, self.extent.beside(self.noun), self.noun, digest)
        choosing = {CHOOSING: self.extent.choosing()}
        validation = self._sets(session, name, choosing, phrase, digest)[CHOOSING]
        began = time.monotonic()
        quality = choose.quality(validation, self.photos, self.noun, self.judges)
        evidence = Evidence(
            self.noun,
            self.photos,
            drawn,
            others,
            untouched,
            self.judges,
            self.individual,
            learnt_photos(self.record, self.photos),
        )
        scored = scores.score(evidence)
        self.seconds["scoring"] += time.monotonic() - began
        return {
            "subject": digest,
            "validation": {**asdict(quality), "harmonic": quality.harmonic},
            "scores": scored,
        }

    def _about(self) -> dict[str, Any]:
        return {
            "noun": self.noun,
            "base": asdict(self.base.identity),
            "precision": self.base.precision,
            "drawing": asdict(self.draw),
            **({} if self.preview == self.draw else {"preview": asdict(self.preview)}),
            "extent": asdict(self.extent),
            "conventions": scores.conventions(self.judges),
            "cost": {
                "unet_pictures_drawing": self.passes,
                "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
            },
        }

    def _sets(
        self,
        session: Session,
        checkpoint: str,
        protocols: Mapping[str, Protocol],
        named: str,
        digest: str,
    ) -> dict[str, PictureSet]:
        """The pictures of some protocols, from disk where they are there."""
        began = time.monotonic()
        found: dict[str, PictureSet] = {}
        for name, protocol in protocols.items():
            path = self.folder.drawn(checkpoint, name)
            draw = self.preview if name == CHOOSING else self.draw
            found[name] = draw_or_read(session, path, protocol, named, draw, digest, self._count)
        self.seconds["drawing"] += time.monotonic() - began
        return found

    def _count(self, passes: int) -> None:
        self.passes += passes


def wear(session: Session, file: Path) -> tuple[tuple[str, ...], str]:
    """Put a subject file on; returns its phrases and digest, and keeps nothing else in memory.

    Raises ArtifactError where it was made with another base, or cannot be read.
    """
    learnt = artifact.load(file)
    artifact.require_base(learnt, session.base.identity)
    session.wear(learnt.delta)
    return learnt.delta.phrases, learnt.digest


def draw_or_read(
    session: Session,
    path: Path,
    protocol: Protocol,
    named: str,
    draw: DrawSettings,
    digest: str,
    drawn: Callable[[int], None] = lambda _: None,
) -> PictureSet:
    """The pictures of a protocol: from ``path`` if they are there, else drawn, and kept there.

    ``digest``: that of the subject file that the session wears, or of the base alone. ``drawn``: is
    told how many pictures passed the U-Net for it, unless it was there.
    """
    base = session.base
    text = {
        "prompts": "; ".join(protocol.templates).replace("{}", named),
        "seeds": f"{protocol.first_seed} to {protocol.seeds[-1]}",
        "subject": digest[:16],
        "precision": base.precision,
        **drawing_text(base.identity, base.size, draw),
    }
    text["key"] = sha256(repr(sorted(text.items())).encode()).hexdigest()[:16]
    kept = read_set(path, protocol, base.size, text["key"])
    if kept is None:
        kept = draw_set(session, protocol, named, draw)
        save_png(path, Image.fromarray(_grid(kept)), text)
        drawn(protocol.pictures * draw.forwards)
    return kept


def evaluate(
    run: AnyPath,
    *,
    extent: Extent | None = None,
    checkpoints: Sequence[str] | None = None,
    base: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    judges: Judges | None = None,
    progress: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
    notice: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Score a finished run's checkpoints and write ``scores.json``; returns what it holds.

    Scores of other checkpoints that are there, made in the same way, are kept, and the best on
    held-out prompts is that of all; the cost is of every call that made what is kept.

    ``extent``: how many pictures, by default as the papers do. ``checkpoints``: their names, by
    default all of the last stage. ``base``: where the base lies, if it was a folder in training.

    Raises:
        SettingsError: no finished run with photos of one subject, one that is damaged, or no judges
            to be had.
        ArtifactError: a checkpoint that is not there.
        DivergedError: none of the checkpoints can be drawn.
    """
    folder = RunFolder(Path(run))
    record = _finished(folder)
    names = _names(folder, checkpoints)
    header = artifact.load(folder.checkpoint(names[0])).header
    if len(header.nouns) != 1:
        raise SettingsError(
            f"{run} holds {len(header.nouns)} subjects, and scores are of one. Train and "
            "evaluate them one by one."
        )
    photos, individual = read_photos(folder)
    name = base or header.base.name
    draw = DrawSettings(**record["drawing"]) if "drawing" in record else preset_for(name).draw
    opened = open_base(
        name,
        device=device,
        precision=precision,
        resolution=header.size,
        from_file=base is None,
        notice=notice,
    )
    evaluator = Evaluator(
        folder=folder,
        record=record,
        noun=header.nouns[0],
        photos=photos,
        individual=individual,
        base=opened,
        judges=judges or open_judges(name, str(opened.device), notice),
        draw=draw,
        preview=DrawSettings(**record["preview"]) if "preview" in record else draw,
        extent=extent or Extent(),
    )
    found = evaluator.evaluate(names, progress, notice)
    earlier = _earlier(folder, found)
    scored = {**earlier.get("checkpoints", {}), **found.pop("checkpoints")}
    found |= {
        "cost": {
            **_added(earlier.get("cost", {}), found["cost"]),
            "unet_pictures_class_images": _class_images(record, header),
        },
        "best_held_out": _best_held_out(folder, scored),
        "checkpoints": scored,
    }
    store.write_json(folder.scores, found)
    return found


def read_set(
    path: Path, protocol: Protocol, size: int, key: str | None = None
) -> PictureSet | None:
    """The pictures of a protocol that ``evaluate`` kept, or None: absent, damaged, or others."""
    rows, columns = len(protocol.templates), protocol.count
    try:
        with Image.open(path, formats=["PNG"]) as image:
            # Before a pixel is decoded: a small file can unfold to gigabytes.
            if image.size != (columns * size, rows * size):
                return None
            if key is not None and image.info.get("rarebooth:key") != key:
                return None
            grid = np.asarray(image.convert("RGB"))
    except Exception:  # decoders raise whatever a damaged file leads them to
        return None
    images = grid.reshape(rows, size, columns, size, 3).swapaxes(1, 2)
    return PictureSet(protocol.templates, images)


def read_photos(folder: RunFolder) -> tuple[Pixels, Individual | None]:
    """The photos of a run as its network saw them, and who they show, if it is a miniature.

    Raises:
        SettingsError: none were kept, or one is damaged.
    """
    files = folder.crops(1)
    if not files:
        raise SettingsError(
            f"{folder.path} holds no photos to compare with, as runs of earlier versions do not. "
            "Train it once more, with another --out."
        )
    pictures: list[Pixels] = []
    marks: set[str | None] = set()
    for file in files:
        pixels, mark = _crop(file)
        if pictures and pixels.shape != pictures[0].shape:
            raise _damaged(file, f"it is {len(pixels)} pixels a side, the first {len(pictures[0])}")
        marks.add(mark)
        pictures.append(pixels)
    mark = marks.pop()
    return np.stack(pictures), None if mark is None or marks else marked(mark)


def learnt_photos(record: Mapping[str, Any], photos: Pixels) -> Pixels | None:
    """Those of a run's photos that were learnt from; None where all were."""
    return learnt_from(photos) if record.get("settings", {}).get("probe_every") else None


def _crop(file: Path) -> tuple[Pixels, str | None]:
    """The pixels of a kept photo, and its mark."""
    try:
        with Image.open(file, formats=["PNG"]) as image:
            width, height = image.size
            if width == height <= LARGEST_SIDE:
                return np.asarray(image.convert("RGB")), mark_in(image.info)
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise _damaged(file, " ".join(str(error).split())[:120]) from error
    raise _damaged(file, f"it is {width} x {height} pixels, not a square of up to {LARGEST_SIDE}")


def _damaged(file: Path, what: str) -> SettingsError:
    return SettingsError(
        f"{file} is no photo as the run kept it: {what}. Put an intact copy there, or train once "
        "more, with another --out."
    )


def _grid(pictures: PictureSet) -> Pixels:
    rows, columns, size = pictures.images.shape[:3]
    return pictures.images.swapaxes(1, 2).reshape(rows * size, columns * size, 3)


def _finished(folder: RunFolder) -> dict[str, Any]:
    record = folder.read()
    if record is None or record.get("status") != "finished":
        state = "no run" if record is None else f"a run that is {record.get('status')}"
        raise SettingsError(
            f"{folder.path} holds {state}; only a finished one can be evaluated. Train it first; "
            "the same command continues a run that was interrupted."
        )
    return record


def _names(folder: RunFolder, asked: Sequence[str] | None) -> list[str]:
    there = folder.checkpoints()
    names = list(asked or of_last_stage(there))
    missing = [name for name in names if name not in there]
    if missing or not names:
        raise SettingsError(
            f"{folder.path} has no checkpoint {missing[0] if missing else 'of its last stage'}; it "
            f"has: {', '.join(there) or 'none'}."
        )
    return names


def _earlier(folder: RunFolder, now: Mapping[str, Any]) -> dict[str, Any]:
    """What ``scores.json`` holds, if its scores were made in the same way."""
    try:
        before = read_scores(folder.scores)
    except (OSError, SettingsError):
        return {}
    parts = ("base", "precision", "drawing", "preview", "extent", "conventions")
    return before if all(before.get(key) == now.get(key) for key in parts) else {}


def _class_images(record: Mapping[str, Any], header: Header) -> int:
    """Passes of the U-Net for the class images that a run learnt from, whoever drew them."""
    if record.get("class_photos") is not None:
        return 0
    method = find_method(header.method)(**header.settings)
    return cost(method).class_images * preset_for(header.base.name).draw.forwards


def _added(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The cost of earlier calls and of this one."""
    pictures, seconds = "unet_pictures_drawing", before.get("seconds", {})
    return {
        pictures: before.get(pictures, 0) + now[pictures],
        "seconds": {
            name: round(seconds.get(name, 0.0) + value, 2) for name, value in now["seconds"].items()
        },
    }


def _best_held_out(folder: RunFolder, scored: Mapping[str, Any]) -> str | None:
    """Of the last stage's checkpoints that are scored and still there, the best; None of none."""
    qualities: dict[str, Quality] = {}
    for name in of_last_stage(folder.checkpoints()):
        said = scored.get(name, {}).get("validation", {})
        likeness, following = said.get("likeness"), said.get("following")
        if likeness is not None and following is not None:
            qualities[name] = Quality(likeness, following)
    return choose.held_out(qualities) if qualities else None


def _recommended(record: Mapping[str, Any]) -> dict[str, str | None]:
    return {
        "recommended": record.get("recommended"),
        "rule": (record.get("choice") or {}).get("rule"),
        "why": (record.get("choice") or {}).get("why"),
    }
