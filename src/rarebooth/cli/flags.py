"""The flags of ``train`` that a method declares, and those known from diffusers' scripts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING

from rarebooth.errors import SettingsError

if TYPE_CHECKING:
    from rarebooth.method import Method

FAMILIAR: Mapping[str, str] = {
    "pretrained-model-name-or-path": "base",
    "output-dir": "out",
    "checkpointing-steps": "checkpoint-every",
    "learning-rate": "lr",
    "max-train-steps": "steps",
    "train-batch-size": "batch",
    "gradient-accumulation-steps": "accumulate",
}
"""Flags of diffusers' training scripts that have another name here."""

_PRIOR = (
    "belongs to prior preservation. {method} keeps what the base knows without prior images: leave "
    "it out."
)
_MEMORY = "is not there yet. --batch 1, --precision bf16 or a smaller --resolution save memory."
NOT_HERE: Mapping[str, str] = {
    "with-prior-preservation": _PRIOR,
    "class-data-dir": _PRIOR,
    "class-prompt": _PRIOR,
    "prior-loss-weight": _PRIOR,
    "num-class-images": _PRIOR,
    "rank": "belongs to LoRA methods, which are not there yet; {method} trains whole weights.",
    "gradient-checkpointing": _MEMORY,
    "use-8bit-adam": _MEMORY,
}
"""Names of diffusers' training scripts without an effect here, and what to say to them."""

PRECISIONS: Mapping[str, str] = {"no": "fp32", "bf16": "bf16"}
"""Values of diffusers' --mixed_precision, and ours."""

_INSTANCE = re.compile(r"an? (?:photo|picture|image) of (?!(?:an?|the|my) )(\S+) (\S.*)", re.I)
"""How DreamBooth's scripts name a subject: "a photo of sks dog", identifier before the noun."""


@dataclass(frozen=True)
class Words:
    """What is left of a command line: positional words, and flags with their values."""

    positional: tuple[str, ...]
    settings: Mapping[str, str]


def sort(words: Sequence[str], kind: "type[Method]") -> Words:
    """Tell a method's flags from other words; SettingsError for flags that it does not have."""
    known = {item.name.replace("_", "-"): item.name for item in fields(kind)}
    positional: list[str] = []
    settings: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if not (word.startswith("-") and len(word) > 1):
            positional.append(word)
            continue
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--")
        if name not in known:
            raise _unknown(flag, name, known, kind.name)
        if not equals:
            try:
                value = next(rest)
            except StopIteration:
                raise SettingsError(f"{flag} wants a value, like {flag} VALUE.") from None
        settings[known[name]] = value
    return Words(tuple(positional), settings)


def _unknown(flag: str, name: str, known: Mapping[str, str], method: str) -> SettingsError:
    if name in NOT_HERE:
        return SettingsError(f"{flag} {NOT_HERE[name].format(method=method)}")
    near = get_close_matches(name, known, n=1)
    hint = f" Did you mean --{near[0]}?" if near else ""
    return SettingsError(
        f"Unknown flag {flag}.{hint} `rarebooth train --method {method} --help` lists all."
    )


def precision_of(mixed: str) -> str:
    """The precision that diffusers' --mixed_precision asks for; SettingsError for fp16."""
    if mixed in PRECISIONS:
        return PRECISIONS[mixed]
    raise SettingsError(
        f"--mixed_precision is {mixed!r}; it must be no or bf16. fp16 loses small gradients "
        "without loss scaling: use bf16 on a GPU that computes in it, else no."
    )


def check_resume(value: str) -> None:
    """Accept diffusers' --resume_from_checkpoint latest, which is what always happens here."""
    if value != "latest":
        raise SettingsError(
            f"--resume_from_checkpoint is {value!r}; only latest is known. A run continues from "
            "its newest state by itself when the same command is given again."
        )


@dataclass(frozen=True)
class Instance:
    """What diffusers' --instance_prompt says here: a prompt for training, a noun, a remark."""

    prompt: str | None = None
    noun: str | None = None
    remark: str | None = None


def read_instance_prompt(text: str, noun: str | None) -> Instance:
    """Read "a photo of sks dog", or a prompt with ``{}``, next to a noun that may be given.

    >>> read_instance_prompt("a photo of sks stuffed animal", None).noun
    'stuffed animal'
    """
    if "{}" in text:
        return Instance(prompt=text)
    found = _INSTANCE.fullmatch(" ".join(text.split()))
    if found is None or (noun is not None and found[2] != noun):
        raise SettingsError(
            f"--instance_prompt {text!r} does not say where the subject stands. Write {{}} there, "
            'as in "a photo of {}", and name its class with --noun, as in --noun dog.'
        )
    remark = (
        f"Took the noun {found[2]!r} from --instance_prompt; {found[1]!r} is not used: the word "
        "for the subject is learnt."
    )
    return Instance(noun=found[2], remark=remark)
