"""Merging as a job on disk: run folders or subject files in, one subject file out."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rarebooth import artifact, merging
from rarebooth.artifact import Artifact, Header
from rarebooth.bases import open_base
from rarebooth.errors import ArtifactError, SettingsError
from rarebooth.folder import AnyPath, subject_file
from rarebooth.methods.custom_diffusion import CustomDiffusion

CHECKPOINT = "merged"
"""What a merged subject file calls its point of training."""


def merge(
    runs_or_files: Sequence[AnyPath],
    out: AnyPath,
    *,
    base: str | None = None,
    device: str = "auto",
    notice: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:
    """Merge the subjects of Custom Diffusion runs into the file ``out``; returns their phrases.

    The phrases are in the order in which ``{1}``, ``{2}``, ... of a prompt mean them. The file's
    size is the largest of the subjects', its prompt and seed are the first's, and its settings name
    the digests of what was merged. ``base``: where the base lies, if it was a folder when the
    subjects were trained.

    Raises:
        SettingsError: fewer than two files, ``out`` exists, subjects of other methods, or subjects
            that ``merging.merge`` refuses.
        ArtifactError: subjects of different bases, or of another one than is found.
    """
    if len(runs_or_files) < 2:
        raise SettingsError("Merging needs two subjects or more; give several runs or files.")
    out, places = Path(out), [Path(each) for each in runs_or_files]
    if out.exists():
        raise SettingsError(f"{out} exists; choose another file with --out.")
    learnt = [artifact.load(subject_file(path, None)) for path in places]
    for path, each in zip(places, learnt, strict=True):
        _require_mergeable(path, each, learnt[0])
    headers = [each.header for each in learnt]
    first = headers[0]
    opened = open_base(
        base or first.base.name,
        device=device,
        resolution=first.size,
        from_file=base is None,
        notice=notice,
    )
    artifact.require_base(learnt[0], opened.identity)
    merged = merging.merge(opened, [each.delta for each in learnt], merging.captions())
    header = Header(
        base=opened.identity,
        method=CustomDiffusion.name,
        settings={"merged": [each.digest for each in learnt]},
        seed=first.seed,
        nouns=tuple(noun for header in headers for noun in header.nouns),
        prompt=first.prompt,
        size=max(header.size for header in headers),
        checkpoint=CHECKPOINT,
    )
    artifact.save(out, merged, header)
    return merged.phrases


def _require_mergeable(path: Path, learnt: Artifact, first: Artifact) -> None:
    header, other = learnt.header, first.header
    if header.method != CustomDiffusion.name:
        raise SettingsError(
            f"Merging is defined for {CustomDiffusion.name} only; {path} was learnt by "
            f"{header.method}. Train it with --method {CustomDiffusion.name}."
        )
    if header.base.digest != other.base.digest:
        raise ArtifactError(
            f"{path} was trained on the base {header.base.name!r} ({header.base.digest[:12]}), and "
            f"the first subject on {other.base.name!r} ({other.base.digest[:12]}). Only subjects "
            "of one base can be merged; train them on the same."
        )
