"""A network whose memory can be given back while nobody needs it."""

from collections.abc import Callable
from typing import Generic, TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class Held(Generic[Network]):
    """A network that ``load`` makes: now, and again where it is called after a ``release``."""

    def __init__(self, load: Callable[[], Network]) -> None:
        self._load = load
        self._network: Network | None = load()

    def __call__(self) -> Network:
        """The network; a new one, of the same values, where it was released."""
        if self._network is None:
            self._network = self._load()
        return self._network

    def release(self) -> None:
        """Give its memory back; what was changed in it is lost."""
        self._network = None
