"""Which device a base runs on, and in which precision it computes."""

from typing import Literal, get_args

import torch

from rarebooth.errors import SettingsError

Precision = Literal["fp32", "bf16"]


def pick_device(name: str) -> torch.device:
    """The device by name; "auto" takes CUDA, else MPS, else the CPU.

    Raises SettingsError if this machine, or this build of torch, does not have it.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, usable in available.items() if usable))
    kind, colon, number = name.partition(":")
    if kind not in available:
        raise SettingsError(f"device is {name!r}; it must be auto, cpu, cuda, cuda:N or mps.")
    if not available[kind]:
        raise SettingsError(
            f"The device {name!r} cannot be used here: torch {torch.__version__} sees none. Use "
            "--device auto, or install a build of torch for it."
        )
    if colon and not (kind == "cuda" and number.isdecimal() and int(number) < _gpus()):
        raise SettingsError(f"There is no device {name!r}; this machine has {_gpus()} for CUDA.")
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> Precision:
    """The precision by name; "auto" is bf16 on a GPU that computes in it, else fp32.

    Weights are fp32 in either case; bf16 is what the denoiser multiplies in.
    """
    if name == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if fast else "fp32"
    if name == "bf16" or name == "fp32":  # noqa: PLR1714  narrows the type
        return name
    raise SettingsError(
        f"precision is {name!r}; it must be auto, {' or '.join(get_args(Precision))}."
    )


def hold_to(precision: Precision, device: torch.device) -> None:
    """Have torch multiply in no less than fp32 where that was asked for; the whole process does.

    A GPU's convolutions keep 10 bits of fp32's 23 otherwise (TF32, torch's default for them).
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = precision != "fp32"


def _gpus() -> int:
    return torch.cuda.device_count()
