"""What every test runs under: one thread, and no network."""

import ipaddress
import os
import socket
from collections.abc import Callable
from importlib import metadata
from typing import Any

# Before torch and huggingface_hub are imported: both read these once. Child processes inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

pytest_plugins = ["tiny_models", "training_jobs", "trials"]

torch.set_num_threads(1)  # the models of the tests are too small to gain from more


class NetworkUsedError(RuntimeError):
    """A test tried to reach another machine; mark it `network` if it must."""


class NetworkGuard:
    """Lets sockets reach this machine only, unless the running test is marked `network`."""

    def __init__(self) -> None:
        self.open = False

    def watch(self, call: Callable[..., Any], host_of: Callable[..., object]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            host = host_of(*args)
            if not self.open and not is_local(host):
                raise NetworkUsedError(f"a test tried to reach {host!r}; tests run offline")
            return call(*args, **kwargs)

        return guarded


def is_local(host: object) -> bool:
    """Whether a host is this machine; a path is a Unix socket, and no host means any address."""
    if host is None or host in ("", b"", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


def host_of_address(_socket: object, address: object, *_: object) -> object:
    return address[0] if isinstance(address, tuple) else None


def host_of_lookup(host: object, *_: object) -> object:
    return host


guard = NetworkGuard()


def pytest_configure() -> None:
    socket.socket.connect = guard.watch(socket.socket.connect, host_of_address)
    socket.socket.connect_ex = guard.watch(socket.socket.connect_ex, host_of_address)
    socket.getaddrinfo = guard.watch(socket.getaddrinfo, host_of_lookup)


def pytest_runtest_setup(item: pytest.Item) -> None:
    guard.open = item.get_closest_marker("network") is not None


@pytest.fixture
def not_installed(monkeypatch):
    """rarebooth on the path alone: the packages that it needs are installed, and it is not."""
    version = metadata.version

    def on_the_path(name: str) -> str:
        if name == "rarebooth":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", on_the_path)
