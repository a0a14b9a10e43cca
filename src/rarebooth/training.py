"""Training as a job on disk: photos in, a run folder out, continued where it was interrupted."""

import math
import os
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from rarebooth import artifact, prompts, sample, store
from rarebooth.artifact import Header
from rarebooth.base import Session
from rarebooth.choose import Choice, Quality, held_out, quality, why
from rarebooth.class_images import Cached, Drawing, Folder, Source, cache_folder
from rarebooth.delta import Delta
from rarebooth.errors import DivergedError, Interrupted, ResourceError, SettingsError
from rarebooth.evaluation import CHOOSING, draw_or_read, wear
from rarebooth.folder import STAGE_NAMES, RunFolder, of_last_stage
from rarebooth.metrics.encoders.judges import open_judges
from rarebooth.photos import Pixels, world_mark
from rarebooth.pictures import drawing_text, picture_text, save_png
from rarebooth.plan import Plan
from rarebooth.probing import ProbeWatch
from rarebooth.protocols import Extent
from rarebooth.record import RunRecord
from rarebooth.run import Run, State
from rarebooth.settings import method_settings
from rarebooth.sheet import Row, contact_sheet
from rarebooth.steplog import StepLog
from rarebooth.subject import photo_sheet
from rarebooth.tokens import fill

SHEET = "contact sheet"
"""The stage of the ``Progress`` that says that the sheet is being drawn."""

CHOICE = "pictures that choose a checkpoint"
"""The stage of the ``Progress`` that says that all steps are taken and checkpoints are judged."""


@dataclass(frozen=True)
class Progress:
    """A finished step as its readers see it; with ``stage`` ``CHOICE`` or ``SHEET``, what is next.

    ``written``: a new file, if there is one. ``on_device``: the loss where it was formed.
    """

    stage: str
    done: int
    total: int
    on_device: Tensor | None
    written: Path | None

    @property
    def loss(self) -> float:
        """The loss of the step, nan where it is none. On a GPU each look makes the host wait."""
        return math.nan if self.on_device is None else float(self.on_device)


def train(
    job: Plan,
    *,
    stop: Callable[[], bool] = lambda: False,
    drawn: Callable[[int, int], None] = lambda _, __: None,
    notice: Callable[[str], None] = lambda _: None,
) -> Generator[Progress, None, RunFolder]:
    """Train, writing checkpoints and state as it goes; yields every step, then the sheet.

    ``drawn`` is told how many class images are ready, and of how many, for methods that need some;
    ``notice`` what a person should know of real ones.

    A folder with an interrupted run is continued, bit for bit on a CPU; a finished one is left
    alone. When ``stop`` answers True after a step, the state is saved and Interrupted raised.
    """
    if job.finished:
        job.folder.discard_state()  # a part of it, where removing it failed before
        return job.folder
    job.folder.prepare()
    with store.lock(job.folder.path):
        # Until the lock was held, another process could begin a run here, or finish this one.
        job = job.seen_again()
        if job.finished:
            return job.folder
        job.folder.sweep()
        record = RunRecord.begin(job)
        try:
            yield from _train(job, record, stop, _class_images(job, stop, drawn, notice), notice)
        except BaseException as error:
            failure = error if isinstance(error, Exception) else None  # else Ctrl-C, or closed
            try:
                if failure is None or isinstance(error, Interrupted):
                    record.end("interrupted")
                else:
                    record.end("failed", failure)
            except ResourceError as unwritten:
                error.add_note(str(unwritten))
            raise
        record.end("finished")
    return job.folder


def _class_images(
    job: Plan,
    stop: Callable[[], bool],
    drawn: Callable[[int, int], None],
    notice: Callable[[str], None],
) -> Source:
    def progress(done: int, total: int) -> None:
        drawn(done, total)
        if stop():
            raise Interrupted(
                f"Stopped after {done} of {total} class images, which are kept. The same command "
                "continues."
            )

    if job.class_photos_at is not None:
        return Folder(folder=job.class_photos_at, progress=progress, notice=notice)
    return replace(class_cache(job), progress=progress)


@dataclass(frozen=True)
class _Booked(Source):
    """Class images whose time is booked apart: it is none where they are kept already."""

    source: Source
    record: RunRecord

    def __call__(self, session: Session, prompt: str, count: int) -> Pixels:
        self.record.book("preparation")
        try:
            return self.source(session, prompt, count)
        finally:
            self.record.book("class images")


def class_cache(job: Plan) -> Cached:
    """Where class images of a plan are kept, and drawn where they are missing."""
    drawing = Drawing(**job.settings.preset.draw.options)
    return Cached(folder=cache_folder(os.environ), drawing=drawing)


def _train(
    job: Plan,
    record: RunRecord,
    stop: Callable[[], bool],
    class_images: Source,
    notice: Callable[[str], None],
) -> Generator[Progress, None, None]:
    last = record.recommended
    if last is None:
        last = yield from _take_steps(job, record, stop, class_images, notice)
    job.folder.discard_state()
    if not record.chosen:
        there = job.folder.checkpoints()
        last = of_last_stage(there)[-1]
        unjudged = job.unjudged(there)
        if unjudged is None:
            yield Progress(CHOICE, 0, 1, None, None)
            record.choose(_choice(job, last, stop, notice))
            record.book("choice of a checkpoint")
        else:
            record.choose(Choice(last, "last", f"{last} is recommended: {unjudged}."))
    chosen = job.folder.checkpoint(record.recommended or last)
    with store.writing(job.folder.subject, chosen.stat().st_size) as beside:
        shutil.copyfile(chosen, beside)
    if job.settings.train.previews != "none":
        yield Progress(SHEET, 0, 1, None, None)
        draw_sheet(job, notice)
        record.book(SHEET)


def _take_steps(
    job: Plan,
    record: RunRecord,
    stop: Callable[[], bool],
    class_images: Source,
    notice: Callable[[str], None],
) -> Generator[Progress, None, str]:
    """The steps that are missing; returns the checkpoint to recommend.

    What optimising took of memory is given back when it ends.
    """
    folder, method, settings = job.folder, job.settings.method, job.settings.train
    _keep_photos(job)
    state, damaged = store.load_state(folder.state)
    record.resumed(state, damaged)
    if damaged:
        notice(_damage(damaged, state))
    folder.cut_steps(method.stages, state.stage if state else None, state.done if state else 0)
    record.book("preparation")
    run = Run(
        settings.seed,
        state,
        _Booked(class_images, record),
        settings.split_batches,
        notice,
        settings.low_memory,
        method.shown(job.taught),
    )
    with (
        Session(job.base) as session,
        StepLog(folder.steps) as log,
        closing(method.fit(session, job.taught, run)) as steps,
    ):
        job.prepare(session, notice)
        watch = ProbeWatch.of(job) if settings.probe_every else None
        saved = time.monotonic()
        for step in steps:
            record.book(step.stage)
            probed = watch.look(session, step) if watch else None
            log.add(step, probed)
            if probed is not None:
                record.book("probes")
            stalled = watch is not None and watch.stalled
            written = None
            name = str(step.done) if stalled else job.checkpoint_name(step)
            if name is not None:
                written = folder.checkpoint(name)
                artifact.save(written, step.snapshot(), _header(job, name))
                record.book("checkpoints")
                if name in STAGE_NAMES and settings.previews != "none":
                    written = _first_picture(job, session, name, notice) or written
                    record.book("first picture")
            asked, at_end = stop(), step.done == step.total
            all_taken = stalled or (at_end and step.stage == method.stages[-1])
            if all_taken and name is not None:
                if stalled and watch:
                    record.stopped_early(step.done, watch.best)
                # The last checkpoint is all that is still needed: no state is written for it.
                log.flush()
                record.recommend(name)
            elif asked or at_end or _state_is_due(job, step.done, saved):
                log.flush()
                store.save_state(folder.state, step.state())
                saved = time.monotonic()
                record.book("states")
            yield Progress(step.stage, step.done, step.total, step.loss, written)
            if asked:
                raise Interrupted(
                    f"Stopped after step {step.done} of stage {step.stage!r}; the state is saved. "
                    "The same command continues."
                )
            if all_taken and name is not None:
                return name  # what is left of the method would form the last change once more
    raise SettingsError(
        f"{method.name} took no step of its last stage, {method.stages[-1]!r}, so nothing was "
        "learnt. Give that stage at least one step, with another --out."
    )


def _damage(damaged: Sequence[str], state: State | None) -> str:
    several = len(damaged) > 1
    goes_on = (
        "begins anew"
        if state is None
        else f"continues after step {state.done} of stage {state.stage!r}"
    )
    return (
        f"The saved state{'s' if several else ''} {' and '.join(damaged)} "
        f"{'are' if several else 'is'} damaged and not used: the run {goes_on}."
    )


def _state_is_due(job: Plan, done: int, saved: float) -> bool:
    """Whether to save a state in the middle of a stage, the one before being of that moment."""
    old = time.monotonic() - saved >= job.state_seconds
    return old and done % job.settings.train.save_state_every == 0


def _keep_photos(job: Plan) -> None:
    sheet = photo_sheet([photo for each in job.subjects for photo in each.photos])
    save_png(job.folder.photos, sheet, {"photos": job.photos_digest[:16]})
    for number, (subject, home) in enumerate(
        zip(job.subjects, job.photos_at, strict=True), start=1
    ):
        for index, photo in enumerate(subject.photos, start=1):
            mark = world_mark(home / photo.name)
            text = {} if mark is None else {"world": mark}
            save_png(job.folder.crop(number, index), Image.fromarray(photo.pixels), text)


def _choice(
    job: Plan, last: str, stop: Callable[[], bool], notice: Callable[[str], None]
) -> Choice:
    """The checkpoint of the last stage that is best on held-out prompts; the last if unjudged."""
    try:
        judges = open_judges(job.base_asked, str(job.base.device), notice)
    except (SettingsError, ResourceError) as error:
        notice(f"No checkpoint can be chosen by its pictures: {error}")
        return Choice(last, "last", f"{last} is recommended: it is the last; none was judged.")
    subject, draw, protocol = job.subjects[0], job.settings.preset.preview, Extent().choosing()
    qualities: dict[str, Quality] = {}
    with Session(job.base) as session:
        for name in of_last_stage(job.folder.checkpoints()):
            if stop():
                raise Interrupted(
                    "Stopped before every checkpoint was judged; what is drawn is kept. The same "
                    "command continues."
                )
            (phrase,), digest = wear(session, job.folder.checkpoint(name))
            path = job.folder.drawn(name, CHOOSING)
            try:
                pictures = draw_or_read(session, path, protocol, phrase, draw, digest)
            except DivergedError as error:
                notice(f"Checkpoint {name} cannot be recommended: {error}")
                continue
            qualities[name] = quality(pictures, subject.images, subject.noun, judges)
    if not qualities:
        return Choice(last, "last", f"{last} is recommended: it is the last; none can be drawn.")
    chosen = held_out(qualities)
    return Choice(chosen, "held-out", why(qualities, chosen), qualities)


def _first_picture(
    job: Plan, session: Session, checkpoint: str, notice: Callable[[str], None]
) -> Path | None:
    learnt = artifact.load(job.folder.checkpoint(checkpoint))
    prompt, seed = fill(prompts.PLAIN, learnt.delta.phrases[0]), job.settings.train.seed
    try:
        picture = _draw(job, session, [prompt], [seed])[0]
    except DivergedError as error:
        notice(f"There is no first picture: {error}")
        return None
    text = picture_text(prompt, seed, learnt, job.settings.preset.preview)
    save_png(job.folder.first_picture, Image.fromarray(picture), text)
    return job.folder.first_picture


def draw_sheet(job: Plan, notice: Callable[[str], None]) -> None:
    """Draw ``contact-sheet.png``: the photos, then six scenes by base and checkpoints.

    A checkpoint that cannot be drawn is left out, and ``notice`` is told so.
    """
    folder, names = job.folder, job.folder.checkpoints()
    scenes = prompts.SHEET_SCENES
    seeds = [job.settings.train.seed + index for index in range(len(scenes))]
    rows: list[Row] = []
    drawn: dict[str, None] = {}
    with Session(job.base) as session:
        for number, subject in enumerate(job.subjects):
            session.wear(Delta(()))  # takes off what the subject before left on
            rows.append(Row(f"photos of the {subject.noun}", subject.images[: len(scenes)]))
            filled = [fill(scene, subject.noun) for scene in scenes]
            rows.append(Row("the base model's answer", _draw(job, session, filled, seeds)))
            for name in names:
                phrases, _ = wear(session, folder.checkpoint(name))
                phrase = phrases[number]
                filled = [fill(scene, phrase) for scene in scenes]
                after = name.replace("-", " ")
                label = f"after {after}" if name in STAGE_NAMES else f"{name} steps"
                try:
                    rows.append(Row(label, _draw(job, session, filled, seeds)))
                    drawn[name] = None
                except DivergedError as error:
                    notice(f"The contact sheet leaves out {label!r}: {error}")
    captions = [scene.removeprefix(f"{prompts.PLAIN} ") for scene in scenes]
    text = {
        "scenes": "; ".join(scenes),
        "seeds": ", ".join(str(seed) for seed in seeds),
        "noun": ", ".join(subject.noun for subject in job.subjects),
        "checkpoints": ", ".join(drawn),
        "subject": store.digest(folder.subject)[:16],
        **drawing_text(job.base.identity, job.base.size, job.settings.preset.preview),
    }
    save_png(folder.sheet, contact_sheet(rows, captions), text)


def _draw(job: Plan, session: Session, filled: list[str], seeds: list[int]) -> np.ndarray:
    return sample.draw(session, filled, seeds, **job.settings.preset.preview.options)


def _header(job: Plan, checkpoint: str) -> Header:
    method = job.settings.method
    return Header(
        base=job.base.identity,
        method=method.name,
        settings=method_settings(method),
        seed=job.settings.train.seed,
        nouns=tuple(subject.noun for subject in job.subjects),
        prompt=getattr(method, "prompt", prompts.PLAIN),
        size=job.base.size,
        checkpoint=checkpoint,
    )
