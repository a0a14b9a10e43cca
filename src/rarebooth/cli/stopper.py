"""Ending a training by Ctrl-C or SIGTERM without losing it."""

import os
import signal
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any

from rarebooth.cli.console import is_live

EXIT_CODE = 130
SHOW_CURSOR = b"\x1b[?25h"


class Stopper(AbstractContextManager["Stopper"]):
    """Ctrl-C and SIGTERM: the first asks training to save and stop, the second leaves at once."""

    def __init__(self) -> None:
        self.asked = False
        self.leave_at_once = False
        """Whether there is nothing left to save, so that the first signal ends the run."""
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

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        # os.write, because a signal may come in the middle of a print.
        if self.asked:
            if is_live():
                os.write(1, SHOW_CURSOR)
            os._exit(EXIT_CODE)
        self.asked = True
        if self.leave_at_once:
            from rarebooth.api import Interrupted

            raise Interrupted("Stopped; all steps are saved. The same command draws what is left.")
        os.write(2, b"\nSaving the state after this step; once more leaves at once.\n")
