"""Drawing as a job on disk: a run folder or subject file in, pictures out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from rarebooth import artifact, sample
from rarebooth.base import Session
from rarebooth.bases import open_base
from rarebooth.errors import SettingsError
from rarebooth.folder import subject_file
from rarebooth.pictures import picture_text, save_png
from rarebooth.settings import DrawSettings, preset_for
from rarebooth.tokens import fill


def generate(
    run_or_file: Path,
    templates: Sequence[str],
    out: Path,
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

    ``{}`` in a prompt becomes the subject's phrase. ``drawing``: sampler, sampler_steps, guidance,
    where they should differ from the base's preset. ``notice`` is told of prompts that do not name
    the subject. ``base``: where the base lies, if it was a folder when the subject was trained.
    """
    learnt = artifact.load(subject_file(run_or_file, checkpoint))
    name = base or learnt.header.base.name
    draw = _draw_settings(name, drawing or {})
    opened = open_base(
        name, device=device, precision=precision, resolution=learnt.header.size, notice=notice
    )
    artifact.require_base(learnt, opened.identity)
    phrase = learnt.delta.phrases[0]
    filled = [fill(template, phrase) for template in templates]
    for prompt in filled:
        if not any(token in prompt for token in learnt.delta.tokens):
            notice(
                f"{prompt!r} does not name the subject; write {{}} where {phrase!r} should stand."
            )
    jobs = [(prompt, seed + index) for prompt in filled for index in range(count)]
    with Session(opened) as session:
        session.wear(learnt.delta)
        pictures = sample.draw(
            session,
            [prompt for prompt, _ in jobs],
            [number for _, number in jobs],
            sampler=draw.sampler,
            steps=draw.sampler_steps,
            guidance=draw.guidance,
        )
    paths: list[Path] = []
    for (prompt, number), picture in zip(jobs, pictures, strict=True):
        path = out / f"{_slug(prompt)}-{number}.png"
        save_png(path, Image.fromarray(picture), picture_text(prompt, number, learnt))
        paths.append(path)
    return paths


def _draw_settings(base: str, given: Mapping[str, Any]) -> DrawSettings:
    draw = replace(
        preset_for(base).draw, **{key: value for key, value in given.items() if value is not None}
    )
    if draw.sampler_steps < 1:
        raise SettingsError(f"--steps is {draw.sampler_steps}; it must be at least 1.")
    return draw


def _slug(prompt: str) -> str:
    letters = "".join(c if c.isalnum() and c.isascii() else "-" for c in prompt.lower())
    return "-".join(part for part in letters.split("-") if part)[:60] or "picture"
