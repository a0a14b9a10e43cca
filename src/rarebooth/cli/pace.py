"""How long training will still take, and how the loss goes: both from what was measured."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

FEWEST = 3
"""Step times measured in a stage before anything is said about the time left."""

SMOOTHING = 0.95
"""Weight of the past in the smoothed loss: about the last 20 steps."""


@dataclass
class Pace:
    """Step times and loss of the stage under way.

    A stage's first step also pays for its preparations and is not counted.
    """

    clock: Callable[[], float] = time.monotonic
    stage: str | None = None
    left_to_do: int = 0
    _times: list[float] = field(default_factory=list[float])
    _unread: list[Callable[[], float]] = field(default_factory=list[Callable[[], float]])
    _last: float = 0.0
    _average: float = 0.0
    _weight: float = 0.0

    def step(self, stage: str, done: int, total: int, loss: Callable[[], float]) -> None:
        """Take note of a finished step; ``loss`` is read when the average is asked for.

        Reading makes the host wait for a GPU.
        """
        now = self.clock()
        if stage == self.stage:
            self._times.append(now - self._last)
        else:
            self.stage, self._times, self._average, self._weight = stage, [], 0.0, 0.0
            self._unread.clear()
        self._last = now
        self.left_to_do = total - done
        self._unread.append(loss)

    @property
    def loss(self) -> float:
        """The loss, averaged over about the last 20 steps of the stage."""
        for loss in self._unread:
            self._average = SMOOTHING * self._average + (1 - SMOOTHING) * loss()
            self._weight = SMOOTHING * self._weight + (1 - SMOOTHING)
        self._unread.clear()
        return self._average / self._weight

    @property
    def seconds_left(self) -> float | None:
        """Seconds the stage will still take at its mean pace, or None while that is a guess."""
        if len(self._times) < FEWEST:
            return None
        return sum(self._times) / len(self._times) * self.left_to_do
