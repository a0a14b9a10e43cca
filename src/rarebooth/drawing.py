"""Drawing as a job on disk: a run folder or subject file in, pictures out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import TypeAdapter, ValidationError

from rarebooth import artifact, sample
from rarebooth.base import Session
from rarebooth.bases import open_base
from rarebooth.errors import SettingsError
from rarebooth.folder import AnyPath, subject_file
from rarebooth.pictures import picture_name, picture_text, save_png
from rarebooth.settings import DrawSettings, check_seed, preset_for
from rarebooth.store import unwritable, write_nothing
from rarebooth.tokens import fill


def generate(
    run_or_file: AnyPath,
    templates: Sequence[str],
    out: AnyPath,
    *,
    checkpoint: str | None = None,
    base: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    count: int = 1,
    seed: int = 0,
    drawing: Mapping[str, Any] | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Draw ``count`` pictures of each prompt with seeds from ``seed`` on; returns the PNG files.

    Every batch is saved as soon as it is drawn, and no picture replaces one that differs from it.

    ``{}`` in a prompt becomes the subject's phrase; of several subjects, ``{1}`` the first's and
    ``{2}`` the second's. ``drawing``: sampler, sampler_steps, guidance, where they should differ
    from the base's preset. ``notice`` is told of prompts that do not name the subject. ``base``:
    where the base lies, if it was a folder when the subject was trained.

    Raises SettingsError for a number in a prompt that no subject has, and for what cannot be drawn.
    """
    check_seed(seed, count)
    learnt = artifact.load(subject_file(Path(run_or_file), checkpoint))
    filled = [fill(template, *learnt.delta.phrases) for template in templates]
    name = base or learnt.header.base.name
    draw = _draw_settings(name, drawing or {})
    opened = open_base(
        name,
        device=device,
        precision=precision,
        resolution=learnt.header.size,
        from_file=base is None,
        notice=notice,
    )
    artifact.require_base(learnt, opened.identity)
    for prompt in filled:
        if not learnt.delta.called_by(prompt):
            notice(f"{prompt!r} does not name the subject; {_advice(learnt.delta.phrases)}.")
    try:
        write_nothing(Path(out))
    except OSError as error:
        raise unwritable(Path(out, "a picture"), error) from error
    jobs = [(prompt, seed + index) for prompt in filled for index in range(count)]
    paths: list[Path] = []
    with Session(opened) as session:
        session.wear(learnt.delta)
        drawn = sample.draw_batches(
            session,
            [prompt for prompt, _ in jobs],
            [number for _, number in jobs],
            **draw.options,
        )
        for (prompt, number), picture in zip(jobs, chain.from_iterable(drawn), strict=True):
            text = picture_text(prompt, number, learnt, draw)
            path = Path(out, picture_name(text))
            save_png(path, Image.fromarray(picture), text)
            paths.append(path)
    return paths


def _advice(phrases: Sequence[str]) -> str:
    if len(phrases) == 1:
        return f"write {{}} where {phrases[0]!r} should stand"
    places = (f"{{{number}}} for {phrase!r}" for number, phrase in enumerate(phrases, start=1))
    return f"write {', '.join(places)}"


def _draw_settings(base: str, given: Mapping[str, Any]) -> DrawSettings:
    chosen = {key: value for key, value in given.items() if value is not None}
    try:
        draw = TypeAdapter(DrawSettings).validate_python(
            {**asdict(preset_for(base).draw), **chosen}
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{name} is {first['input']!r}: {first['msg']}.") from error
    if draw.sampler_steps < 1:
        raise SettingsError(f"--steps is {draw.sampler_steps}; it must be at least 1.")
    if not math.isfinite(draw.guidance):
        raise SettingsError(f"--guidance is {draw.guidance}; it must be a finite number.")
    return draw
