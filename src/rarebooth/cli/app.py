"""The program: its verbs, and what happens when one of them fails."""

import io
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

import rarebooth
from rarebooth.cli import (
    bench,
    check,
    demo,
    doctor,
    evaluate,
    export,
    generate,
    merge,
    methods,
    report,
    tokens,
    train,
)
from rarebooth.cli.console import say_error
from rarebooth.cli.flags import FAMILIAR, FAMILIAR_IN_GENERATE
from rarebooth.errors import (
    LONGEST_PATH,
    RareboothError,
    ResourceError,
    SettingsError,
    is_full,
    is_out_of_memory,
)

TRAINING = (
    "These need less: --gradient-checkpointing, with the same result; smaller batches (--batch 1 "
    "--token-batch 1), or --split-batches, which works off in pieces what does not fit; "
    "--precision bf16; a smaller --resolution; least of all --low-memory, with another result. The "
    "same command, also with --gradient-checkpointing, continues from the last saved state; other "
    "settings want another --out."
)

DRAWING = "Close other programs, use --precision bf16, or another --device. "

OTHERWISE = "Close other programs, or use a machine with more of it."

LESS_MEMORY: Mapping[str, str] = {
    "train": TRAINING,
    "generate": f"{DRAWING}One prompt with --count 1 is drawn by itself; a picture that is drawn "
    "already is the same again.",
    "bench": "Fewer --workers need less. The same command goes on, with --retry-failed also with "
    "jobs that failed.",
    "evaluate": f"{DRAWING}The same command goes on from the pictures that are drawn already.",
}
"""What helps a verb that runs out of memory, by what that verb takes."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train", context_settings=train.CONTEXT)(train.command)
app.command("generate")(generate.command)
app.command("evaluate")(evaluate.command)
app.command("report")(report.command)
app.command("bench")(bench.command)
app.command("merge")(merge.command)
app.command("export")(export.command)
app.command("check")(check.command)
app.command("demo")(demo.command)
app.command("doctor")(doctor.command)
app.command("tokens")(tokens.command)
app.command("methods")(methods.command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rarebooth {rarebooth.__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Teach a text-to-image model one subject from a few photos, then draw it in new scenes."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    names = FAMILIAR_IN_GENERATE if [*arguments[:1]] == ["generate"] else FAMILIAR
    try:
        app([_ours(argument, names) for argument in arguments], prog_name="rarebooth")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    except RareboothError as error:
        say_error(str(error))
        return error.exit_code
    except Exception as error:  # whatever a library makes of too little memory
        if is_out_of_memory(error):
            helps = LESS_MEMORY.get(next(iter(arguments), ""), OTHERWISE)
            say_error(f"The memory is not enough for this. {helps}")
            return ResourceError.exit_code
        if isinstance(error, OSError) and (error.filename is not None or is_full(error)):
            return _refused_by_the_system(error)
        raise
    return 0


def main() -> None:
    """The entry point of the installed command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Somebody's file names can be in letters that a pipe or an old terminal has not.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def _refused_by_the_system(error: OSError) -> int:
    """Say which path it was and what to do; returns the exit code."""
    path = "a file" if error.filename is None else str(error.filename)
    shown = path if len(path) <= LONGEST_PATH else f"{path[:LONGEST_PATH]}..."
    if is_full(error):
        say_error(f"No space is left to write {shown}. Free some, or write to another disk.")
        return ResourceError.exit_code
    say_error(
        f"{shown} cannot be used: {error.strerror or error}. Check the path and who may read it, "
        "or name another."
    )
    return SettingsError.exit_code


def _ours(argument: str, names: Mapping[str, str]) -> str:
    """Write a flag as typer knows it: with dashes, and by our name where diffusers has another."""
    if not argument.startswith("--"):
        return argument
    flag, equals, value = argument.partition("=")
    name = flag[2:].replace("_", "-")
    return f"--{names.get(name, name)}{equals}{value}"
