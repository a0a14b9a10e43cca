"""The flags of ``train`` that a method declares, and those known from diffusers' scripts."""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING

from rarebooth.errors import SettingsError
from rarebooth.prompts import PLAIN

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
    "max-grad-norm": "clip",
    "adam-weight-decay": "weight-decay",
    "placeholder-token": "token",
    "initializer-token": "initial-word",
    "modifier-token": "token",
    "num-vectors": "vectors",
    "learnable-property": "templates",
    "with-prior-preservation": "prior",
    "prior-loss-weight": "prior-weight",
    "num-class-images": "class-images",
    "class-data-dir": "class-photos",
    "train-text-encoder": "train-text",
    "lora-alpha": "alpha",
    "use-dora": "dora",
}
"""Flags of diffusers' training scripts that have another name here."""

FAMILIAR_IN_GENERATE: Mapping[str, str] = {
    "num-inference-steps": "steps",
    "guidance-scale": "guidance",
    "num-images-per-prompt": "count",
    "output-dir": "out",
}
"""Names of diffusers' pipelines that are called otherwise in ``generate``."""


@dataclass(frozen=True)
class Fixed:
    """A flag of diffusers' training scripts with one value that holds here, and why."""

    value: str
    reason: str


_CONSTANT = "the learning rate is constant, as in the papers of the methods"
FIXED: Mapping[str, Fixed] = {
    "lr-scheduler": Fixed("constant", _CONSTANT),
    "lr-warmup-steps": Fixed("0", _CONSTANT),
    "lr-num-cycles": Fixed("1", _CONSTANT),
    "lr-power": Fixed("1.0", _CONSTANT),
    "adam-beta1": Fixed("0.9", "AdamW's first moment decays as in diffusers' default"),
    "adam-beta2": Fixed("0.999", "AdamW's second moment decays as in diffusers' default"),
    "adam-epsilon": Fixed("1e-08", "AdamW's epsilon is diffusers' default"),
    "dataloader-num-workers": Fixed("0", "photos are encoded once, before the first step"),
}
"""Accepted with the value that holds here, so that a script's command line works as it stands."""

_PRIOR = (
    "belongs to prior preservation, which {method} does without. Leave it out, or choose a method "
    "that has it, such as dreambooth."
)
_MEMORY = (
    "is not there yet. --batch 1, --gradient-checkpointing, --low-memory, --precision bf16 or a "
    "smaller --resolution save memory."
)
_LOG = (
    "has nothing to do here: losses go to steps.jsonl in the run folder, and nothing is reported "
    "elsewhere. Leave it out."
)
_UPLOAD = "would upload the result, which rarebooth never does. Leave it out."
_SHEET = (
    "has no counterpart: a contact sheet with six scenes is drawn at the end (--previews none "
    "leaves it out). Draw other prompts with rarebooth generate."
)
_TEXT = "would train the text encoder, which {method} leaves as it is. Leave it out."
_ONE_FOLDER = (
    "chooses parts of a base, which is always taken whole, at the commit first used here. Give a "
    "folder with --base for another."
)
NOT_HERE: Mapping[str, str] = {
    "prior": _PRIOR,
    "class-prompt": _PRIOR,
    "prior-weight": _PRIOR,
    "class-images": _PRIOR,
    "rank": "belongs to methods with adapters, such as dreambooth-lora. Leave it out.",
    "use-8bit-adam": "is a part of --low-memory here: use that.",
    "enable-xformers-memory-efficient-attention": _MEMORY,
    "set-grads-to-none": "has nothing to do here: gradients are always freed. Leave it out.",
    "checkpoints-total-limit": (
        "is not there: every checkpoint is kept. A larger --checkpoint-every keeps fewer."
    ),
    "num-train-epochs": "is not there: training is counted in steps. Use --steps.",
    "report-to": _LOG,
    "logging-dir": _LOG,
    "push-to-hub": _UPLOAD,
    "hub-token": _UPLOAD,
    "hub-model-id": _UPLOAD,
    "validation-prompt": _SHEET,
    "num-validation-images": _SHEET,
    "validation-steps": _SHEET,
    "validation-epochs": _SHEET,
    "train-text": _TEXT,
    "text-encoder-use-attention-mask": _TEXT,
    "revision": _ONE_FOLDER,
    "variant": _ONE_FOLDER,
    "tokenizer-name": _ONE_FOLDER,
    "scale-lr": "is not there: --lr is used as it is given. Leave it out.",
    "center-crop": "has nothing to do here: photos are always cropped to their middle square.",
    "allow-tf32": "is not there: fp32 is fp32. On a GPU, --precision bf16 is faster than either.",
    "snr-gamma": "is not there: {method} weights all timesteps alike. Leave it out.",
    "offset-noise": "is not there: {method} adds plain noise. Leave it out.",
    "train-data-dir": "is called --instance_data_dir in DreamBooth's script; or name the folder.",
}
"""Names of diffusers' training scripts without an effect here, and what to say to them."""

PRECISIONS: Mapping[str, str] = {"no": "fp32", "bf16": "bf16"}
"""Values of diffusers' --mixed_precision, and ours."""

_INSTANCE = re.compile(r"(an? (?:photo|picture|image) of) (?!(?:an?|the|my) )(\S+) (\S.*)", re.I)
"""How DreamBooth's scripts name a subject: "a photo of sks dog", identifier before the noun."""


@dataclass(frozen=True)
class Words:
    """What is left of a command line: positional words, and flags with their values."""

    positional: tuple[str, ...]
    settings: Mapping[str, str]


def sort(words: Sequence[str], kind: "type[Method]") -> Words:
    """Tell a method's flags from other words; SettingsError for flags that it does not have."""
    known = {item.name.replace("_", "-"): item.name for item in fields(kind)}
    switches = {name for name, field in known.items() if isinstance(getattr(kind, field), bool)}
    positional: list[str] = []
    settings: dict[str, str] = {}
    waiting = deque(words)
    while waiting:
        word = waiting.popleft()
        if not (word.startswith("-") and len(word) > 1):
            positional.append(word)
            continue
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--")
        if name not in known and name not in FIXED:
            raise _unknown(flag, name, known, kind.name)
        if not equals and name in switches and (waiting or ["--"])[0].lower() not in _BOOLEANS:
            value = "true"  # as diffusers' scripts have it: the flag alone
        elif not equals:
            if not waiting:
                raise SettingsError(f"{flag} wants a value, like {flag} VALUE.")
            value = waiting.popleft()
        if name in known:
            settings[known[name]] = value
        elif not _same(value, FIXED[name].value):
            raise SettingsError(
                f"{flag} is {value!r}; only {FIXED[name].value} is known here, because "
                f"{FIXED[name].reason}. Leave it out."
            )
    return Words(tuple(positional), settings)


def certainly_positional(words: Sequence[str]) -> list[str]:
    """The words that are no flags and no flag's value, whatever flags the method has.

    >>> certainly_positional(["photos", "--steps", "10", "more", "--prior", "perhaps"])
    ['photos', 'more']
    """
    before = ("", *words)
    return [
        word
        for word, one_before in zip(words, before, strict=False)
        if not word.startswith("-") and (not one_before.startswith("-") or "=" in one_before)
    ]


_BOOLEANS = frozenset({"true", "false", "yes", "no", "on", "off", "1", "0"})


def _same(value: str, expected: str) -> bool:
    """Whether two words are the same, or the same number."""
    try:
        return float(value) == float(expected)
    except ValueError:
        return value == expected


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
    """What diffusers' --instance_prompt says here: a prompt for training, an identifier, a noun."""

    prompt: str | None = None
    identifier: str | None = None
    noun: str | None = None


def read_instance_prompt(text: str, noun: str | None) -> Instance:
    """Read "a photo of sks dog", or a prompt with ``{}``, next to a noun that may be given.

    >>> read_instance_prompt("a photo of sks stuffed animal", None).noun
    'stuffed animal'
    """
    if "{}" in text:
        return Instance(prompt=text)
    found = _INSTANCE.fullmatch(" ".join(text.split()))
    if found is None or (noun is not None and found[3] != " ".join(noun.split())):
        raise SettingsError(
            f"--instance_prompt {text!r} does not say where the subject stands. Write {{}} there, "
            'as in "a photo of {}", and name its class with --noun, as in --noun dog.'
        )
    template = f"{found[1]} {{}}"
    prompt = None if template.lower() == PLAIN else template
    return Instance(prompt=prompt, identifier=found[2], noun=found[3])


def class_template(text: str, noun: str | None) -> str:
    """Diffusers' --class_prompt with ``{}`` in the place of the noun.

    >>> class_template("a photo of dog", "dog")
    'a photo of {}'
    >>> class_template("a photo of a scarlet car", "car")
    'a photo of a scarlet {}'

    Raises:
        SettingsError: it does not name the noun.
    """
    if "{}" in text:
        return text
    words = " ".join(text.split())
    place = noun and re.search(rf"(?<!\w){re.escape(noun)}(?!\w)", words)
    if not place:
        raise SettingsError(
            f"--class_prompt {text!r} does not say where the class noun stands. Write {{}} there, "
            'as in "a photo of {}".'
        )
    return f"{words[: place.start()]}{{}}{words[place.end() :]}"
