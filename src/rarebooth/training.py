"""Training as a job on disk: photos in, a run folder out, resumed bit for bit."""

import json
import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from rarebooth import artifact, prompts, sample, store
from rarebooth.artifact import Header
from rarebooth.base import Session
from rarebooth.errors import RareboothError
from rarebooth.folder import STAGE_NAMES, RunFolder
from rarebooth.pictures import picture_text, save_png
from rarebooth.plan import Plan
from rarebooth.record import RunRecord
from rarebooth.run import Run
from rarebooth.settings import method_settings
from rarebooth.sheet import Row, contact_sheet
from rarebooth.subject import photo_sheet
from rarebooth.tokens import fill


class Interrupted(RareboothError):
    """Training was asked to stop; its state is saved."""

    exit_code = 130


@dataclass(frozen=True)
class Progress:
    """A finished step as its readers see it; ``written`` is a new file, if there is one."""

    stage: str
    done: int
    total: int
    loss: float
    written: Path | None


def train(
    job: Plan, *, stop: Callable[[], bool] = lambda: False
) -> Generator[Progress, None, RunFolder]:
    """Train, writing checkpoints and state as it goes; yields every step.

    A folder with an interrupted run is continued bit for bit; a finished one is left alone. When
    ``stop`` answers True after a step, the state is saved and Interrupted raised.
    """
    if job.finished:
        job.folder.discard_state()
        return job.folder
    job.folder.prepare()
    with store.lock(job.folder.path):
        job.folder.sweep()
        record = RunRecord.begin(job)
        try:
            yield from _train(job, record, stop)
        except Interrupted:
            record.end("interrupted")
            raise
        except Exception as error:
            record.end("failed", str(error) or type(error).__name__)
            raise
        except GeneratorExit:
            record.end("interrupted")
            raise
        record.end("finished")
        job.folder.discard_state()
    return job.folder


def _train(
    job: Plan, record: RunRecord, stop: Callable[[], bool]
) -> Generator[Progress, None, None]:
    folder, method, settings = job.folder, job.settings.method, job.settings.train
    save_png(folder.photos, photo_sheet(job.subject), {})
    state, damaged = store.load_state(folder.state)
    record.resumed(state, damaged)
    folder.cut_steps(method.stages, state.stage if state else None, state.done if state else 0)
    with Session(job.base) as session, folder.steps.open("a", encoding="utf-8") as lines:
        run = Run(settings.seed, state)
        for step in method.fit(session, [job.subject], run):
            record.phase(step.stage)
            loss = float(step.loss)
            line = {"stage": step.stage, "step": step.done, "loss": loss}
            lines.write(json.dumps(line) + "\n")
            written = None
            name = job.checkpoint_name(step)
            if name is not None:
                written = folder.checkpoint(name)
                artifact.save(written, step.snapshot(), _header(job, name))
                if name in STAGE_NAMES and settings.previews != "none":
                    record.phase("first picture")
                    written = _first_picture(job, session, name)
            asked = stop()
            if asked or step.done % settings.save_state_every == 0 or step.done == step.total:
                lines.flush()
                store.save_state(folder.state, step.state())
            yield Progress(step.stage, step.done, step.total, loss, written)
            if asked:
                raise Interrupted(
                    f"Stopped after step {step.done} of stage {step.stage!r}; the state is saved. "
                    "The same command continues."
                )
    record.phase("contact sheet")
    _copy_recommended(folder)
    if settings.previews != "none":
        draw_sheet(job)


def _first_picture(job: Plan, session: Session, checkpoint: str) -> Path:
    learnt = artifact.load(job.folder.checkpoint(checkpoint))
    prompt = fill(prompts.PLAIN, learnt.delta.phrases[0])
    draw = job.settings.preset.draw
    pictures = sample.draw(
        session,
        [prompt],
        [job.settings.train.seed],
        sampler=draw.sampler,
        steps=draw.sampler_steps,
        guidance=draw.guidance,
    )
    text = picture_text(prompt, job.settings.train.seed, learnt)
    save_png(job.folder.first_picture, Image.fromarray(pictures[0]), text)
    return job.folder.first_picture


def _copy_recommended(folder: RunFolder) -> None:
    last = folder.checkpoint(folder.checkpoints()[-1])
    with store.writing(folder.subject) as beside:
        shutil.copyfile(last, beside)


def draw_sheet(job: Plan) -> None:
    """Draw ``contact-sheet.png``: the photos, then six scenes by base and checkpoints."""
    folder, seed = job.folder, job.settings.train.seed
    draw = job.settings.preset.draw
    scenes = prompts.SHEET_SCENES
    seeds = [seed + index for index in range(len(scenes))]
    rows = [Row(f"photos of the {job.subject.noun}", job.subject.images)]

    def scene_row(session: Session, label: str, phrase: str) -> Row:
        filled = [fill(scene, phrase) for scene in scenes]
        pictures = sample.draw(
            session,
            filled,
            seeds,
            sampler=draw.sampler,
            steps=draw.sampler_steps,
            guidance=draw.guidance,
        )
        return Row(label, pictures)

    with Session(job.base) as session:
        rows.append(scene_row(session, "the base model's answer", job.subject.noun))
        for name in folder.checkpoints():
            learnt = artifact.load(folder.checkpoint(name)).delta
            session.wear(learnt)
            label = f"after {name.replace('-', ' ')}" if name in STAGE_NAMES else f"{name} steps"
            rows.append(scene_row(session, label, learnt.phrases[0]))
    captions = [scene.removeprefix(f"{prompts.PLAIN} ") for scene in scenes]
    save_png(folder.sheet, contact_sheet(rows, captions), {})


def _header(job: Plan, checkpoint: str) -> Header:
    method = job.settings.method
    return Header(
        base=job.base.identity,
        method=method.name,
        settings=method_settings(method),
        seed=job.settings.train.seed,
        nouns=(job.subject.noun,),
        prompt=getattr(method, "prompt", prompts.PLAIN),
        size=job.base.size,
        checkpoint=checkpoint,
    )
