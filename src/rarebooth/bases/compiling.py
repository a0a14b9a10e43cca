"""Blocks of a network that are compiled by torch while it is borrowed, and then as they were.

Blocks of one shape share what is compiled, which takes a fraction of the time that a whole network
would: regional compilation, as diffusers' ``compile_repeated_blocks``, which cannot be undone.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from torch._dynamo import config as dynamo
from torch._dynamo.exc import TorchDynamoException
from torch._functorch import config as functorch

from rarebooth.bases.configuration import reason
from rarebooth.caches import user_caches
from rarebooth.errors import is_out_of_memory

VARIANTS = 64
"""How often the blocks may be compiled: once for each width, size of picture, batch and stage."""

KEPT_IN: Final = "TORCHINDUCTOR_CACHE_DIR"
"""The environment variable that names the folder in which torch keeps what it compiled."""


@contextmanager
def compiled(
    network: nn.Module, kind: type[nn.Module], notice: Callable[[str], None]
) -> Generator[None]:
    """While inside, the blocks of a kind run compiled where gradients are formed.

    Every size is compiled for itself: what a step gives must not depend on the sizes that came
    before it, so that a run that continues does the same. A block that cannot be compiled runs as
    it is, and ``notice`` is told once. Torch keeps what it compiled in the user's cache folder, if
    ``TORCHINDUCTOR_CACHE_DIR`` names no other; the variable then stays set for the process.
    """
    if not os.environ.get(KEPT_IN):
        os.environ[KEPT_IN] = _folder_of_ones_own()
    blocks = [module for module in network.modules() if isinstance(module, kind)]
    course = _Course(notice)
    with (
        # Methods come and go with their hooks, and what was compiled for the blocks stays.
        dynamo.patch(recompile_limit=VARIANTS, skip_nnmodule_hook_guards=False),
        # All that can fail shall fail on the way forward, where it can be made good.
        functorch.patch(force_non_lazy_backward_lowering=True),
    ):
        for block in blocks:
            block.forward = _Forward(block.forward, course)
        try:
            yield
        finally:
            for block in blocks:
                del block.forward


def _folder_of_ones_own() -> str:
    """A folder in which no other user can leave a file.

    Torch unpickles and runs what it finds among what it kept, and would keep it under a name in
    the temporary folder that whoever comes first may take.
    """
    try:
        folder = user_caches(os.environ) / "compiled"
        folder.mkdir(0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except (OSError, RuntimeError):  # a home that cannot be written, or none
        apart = tempfile.mkdtemp(prefix="rarebooth-compiled-")
        atexit.register(shutil.rmtree, apart, ignore_errors=True)
        return apart
    return str(folder)


@dataclass
class _Course:
    """How compiling has gone so far."""

    notice: Callable[[str], None]
    worked: bool = False
    failed: bool = False

    @property
    def hopeless(self) -> bool:
        return self.failed and not self.worked

    def fail(self, error: Exception) -> None:
        if not self.failed:
            self.notice(f"The run goes on without compiling, which failed: {reason(error)}.")
        self.failed = True


class _Forward:
    """What a block does, compiled where gradients are formed."""

    def __init__(self, plain: Callable[..., Any], course: _Course) -> None:
        self._plain, self._course = plain, course
        self._compiled: Callable[..., Any] | None = None
        self._failed = False

    def __call__(self, *given: Any, **named: Any) -> Any:  # noqa: ANN401  as the block
        if self._failed or self._course.hopeless or not torch.is_grad_enabled():
            return self._plain(*given, **named)
        try:
            if self._compiled is None:
                self._compiled = torch.compile(self._plain, dynamic=False)
            answer = self._compiled(*given, **named)
        except (RuntimeError, OSError, ImportError) as error:  # the last two before torch begins
            if is_out_of_memory(error) and not isinstance(error, TorchDynamoException):
                raise
            answer = self._plain(*given, **named)  # fails again where compiling is not at fault
            # Not the other blocks: those that gradient checkpointing runs again are to repeat
            # themselves.
            self._failed = True
            self._course.fail(error)
        else:
            self._course.worked = True
        return answer
