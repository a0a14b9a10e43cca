"""``rarebooth train``: photos in, a run folder out."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rarebooth import defaults
from rarebooth.cli import early, flags
from rarebooth.cli.console import notice, out
from rarebooth.cli.stopper import Stopper
from rarebooth.errors import SettingsError

# A method's own flags are known once the method is, so that typer hands on what it does not know;
# and --help is ours, because it shows these flags as soon as --method is named.
CONTEXT: dict[str, Any] = {
    "ignore_unknown_options": True,
    "help_option_names": [],
}

NO_PHOTOS = (
    "No folder of photos was named. Say where they are and what they show: "
    "rarebooth train PHOTOS --noun dog"
)


def command(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PHOTOS",
            help="The folder with 4 to 6 photos of the subject; custom-diffusion takes several.",
            show_default=False,
        ),
    ] = None,
    *,
    noun: Annotated[
        str | None,
        typer.Option(help="What the photos show, in one or two words: dog."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="The base model: embedded, sd15, sd21, a folder, or a Hub id.",
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help=f"How to learn. Default: {defaults.METHOD}.")
    ] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="The run folder. Default: runs/PHOTOS-METHOD."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="What all randomness follows from.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")] = None,
    resolution: Annotated[
        int | None, typer.Option(help="Side of the pictures in pixels. Default: the base's own.")
    ] = None,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(help="Steps between checkpoints to keep."),
    ] = None,
    save_state_every: Annotated[
        int | None,
        typer.Option(
            help="Steps between states that a run can continue from. Default: 100, or more where "
            "these take less than a minute."
        ),
    ] = None,
    previews: Annotated[
        str | None,
        typer.Option(
            help="sheet: a picture after stage one, a contact sheet at the end; or none. They and "
            "the pictures that --choose looks at are drawn in fewer steps than generate's, except "
            "on the embedded base."
        ),
    ] = None,
    choose: Annotated[
        str | None,
        typer.Option(
            help="Which checkpoint is recommended: held-out, the best on prompts that are there "
            "for it; or last."
        ),
    ] = None,
    probe_every: Annotated[
        int | None,
        typer.Option(help="Steps between looks at the loss on fixed noise, with a photo left out."),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Looks without a better one after which training stops.")
    ] = None,
    gradient_checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--gradient-checkpointing",
            help="Less memory and slower steps, to the same result.",
        ),
    ] = None,
    split_batches: Annotated[
        bool | None,
        typer.Option(
            "--split-batches",
            help="Work off a batch that does not fit into memory in smaller pieces.",
        ),
    ] = None,
    low_memory: Annotated[
        bool | None,
        typer.Option(
            "--low-memory",
            help="As --gradient-checkpointing; besides, weights are updated one by one, from "
            "moments in 8 bits: least memory, to another result.",
        ),
    ] = None,
    compile: Annotated[
        bool | None,
        typer.Option(
            "--compile",
            help="Compile the steps, which takes a minute or more a stage and can pay on a GPU.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file of settings, by the names of the flags.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; write and download nothing.")
    ] = False,
    instance_data_dir: Annotated[str | None, typer.Option(help="As in diffusers: PHOTOS.")] = None,
    instance_prompt: Annotated[
        str | None,
        typer.Option(help="As in diffusers: 'a photo of sks dog', or a prompt with {}."),
    ] = None,
    class_photos: Annotated[
        Path | None,
        typer.Option(
            help="A folder of real pictures of the class, for methods that train on class images."
        ),
    ] = None,
    class_prompt: Annotated[
        str | None,
        typer.Option(help="What class images are told by: 'a photo of {}', {} being the noun."),
    ] = None,
    mixed_precision: Annotated[
        str | None, typer.Option(help="As in diffusers: no or bf16.")
    ] = None,
    resume_from_checkpoint: Annotated[
        str | None, typer.Option(help="As in diffusers: latest, which always happens.")
    ] = None,
    show_help: Annotated[
        bool,
        typer.Option("--help", "-h", help="Show this; with --method, its own flags too."),
    ] = False,
) -> None:
    """Learn a subject from a folder of photos.

    The same command on an interrupted run continues it. More flags, such as --steps and --lr,
    belong to the method: rarebooth train --method two-stage --help shows them. A flag wins over
    the environment (RAREBOOTH_STEPS), that over --config, that over the base's preset. The flags
    of diffusers' training scripts work too: --output_dir, --learning_rate, --max_train_steps, ...
    """
    if show_help:
        _help(context, method)
        return
    if not words and instance_data_dir is None:
        raise SettingsError(NO_PHOTOS)
    if resume_from_checkpoint is not None:
        flags.check_resume(resume_from_checkpoint)
    if mixed_precision is not None:
        precision = precision or flags.precision_of(mixed_precision)
    given: dict[str, Any] = {
        "noun": noun,
        "base": base,
        "method": method,
        "seed": seed,
        "device": device,
        "precision": precision,
        "resolution": resolution,
        "checkpoint_every": checkpoint_every,
        "save_state_every": save_state_every,
        "previews": previews,
        "choose": choose,
        "probe_every": probe_every,
        "patience": patience,
        "gradient_checkpointing": gradient_checkpointing,
        "split_batches": split_batches,
        "low_memory": low_memory,
        "compile": compile,
    }

    with Stopper() as stopper:
        from rarebooth import methods, settings

        environment = settings.from_environment(os.environ)
        file = settings.read_file(config) if config is not None else {}
        name = method or environment.get("method") or file.get("method") or defaults.METHOD
        named = flags.certainly_positional(words or []) or [instance_data_dir or ""]
        if any(named):
            early.check_photos(_photos(named))
        early.check_base(base or environment.get("base") or file.get("base"))
        kind = methods.find(str(name))
        sorted_words = flags.sort(words or [], kind)
        photos = _photos(sorted_words.positional or (instance_data_dir or "",))
        if instance_prompt is not None:
            instance = flags.read_instance_prompt(instance_prompt, noun)
            given |= {"noun": noun or instance.noun, "prompt": instance.prompt}
            if hasattr(kind, "identifier"):
                given["identifier"] = instance.identifier
            elif instance.identifier is not None:
                notice(
                    f"Took the noun {instance.noun!r} from --instance_prompt; "
                    f"{instance.identifier!r} is not used: {kind.name} has a word of its own for "
                    "the subject."
                )
        if class_prompt is not None:
            flags.sort(["--class-prompt", class_prompt], kind)
            given["class_prompt"] = flags.class_template(class_prompt, given["noun"])

        from rarebooth.api import draft, plan

        decided = {key: value for key, value in given.items() if value is not None}
        decided.update(sorted_words.settings)
        if dry_run:
            drafted = draft(
                photos,
                decided,
                out=out_folder,
                class_photos=class_photos,
                environment=environment,
                file=file,
            )
            from rarebooth.cli import job as screen

            screen.rehearse(drafted)
            return
        job = plan(
            photos,
            decided,
            out=out_folder,
            class_photos=class_photos,
            environment=environment,
            file=file,
            notice=notice,
        )
        # Here, because it imports what draws and judges, which errors need not wait for.
        from rarebooth.cli import job as screen

        screen.show(job)
        if job.finished:
            out().print("This run is finished already.")
            screen.show_result(job)
        else:
            screen.follow(job, stopper)
            screen.show_result(job)


def _photos(folders: Sequence[str]) -> list[Path]:
    """The folders of photos, one a subject."""
    if not any(folders):
        raise SettingsError(NO_PHOTOS)
    several = len(folders) > 1
    missing = [folder for folder in folders if several and not Path(folder).exists()]
    if missing:
        raise SettingsError(
            f"{len(folders)} folders of photos were named: {', '.join(folders)}; there is no "
            f"{missing[0]}. Put a prompt or name of several words in quotation marks."
        )
    return [Path(folder) for folder in folders]


def _help(context: typer.Context, method: str | None) -> None:
    text = context.get_help()
    if text:
        typer.echo(text)
    if method is None:
        return
    from rarebooth.catalogue import entry
    from rarebooth.cli.methods import describe

    describe(entry(method))
