"""Ending a training by Ctrl-C or SIGTERM without losing it."""

import os
import signal
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any

from rarebooth.cli.console import is_live
from rarebooth.errors import Interrupted

SHOW_CURSOR = b"\x1b[?25h"

BEFORE = "Stopped before a step was taken. The same command begins, or continues what is saved."
DRAWING = "Stopped; all steps are saved. The same command draws what is left."


class Stopper(AbstractContextManager["Stopper"]):
    """Ctrl-C and SIGTERM: the first asks training to save and stop, the second leaves at once.

    Where nothing is at work that would have to be saved, the first ends the block with Interrupted,
    which says ``at_once``; None while there is.
    """

    def __init__(self) -> None:
        self.asked = False
        self.at_once: str | None = BEFORE
        self._before: dict[int, Any] = {}

    def is_asked(self) -> bool:
        """Whether a signal has come."""
        return self.asked

    def __enter__(self) -> "Stopper":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(self.at_once or BEFORE) from None

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        # os.write, because a signal may come in the middle of a print.
        if self.asked:
            if is_live():
                os.write(1, SHOW_CURSOR)
            os._exit(Interrupted.exit_code)
        self.asked = True
        if self.at_once is not None:
            # What nothing takes for a failure of the file or picture that is at work.
            raise KeyboardInterrupt
        os.write(2, b"\nSaving the state after this step; once more leaves at once.\n")
