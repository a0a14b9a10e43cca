"""Photos are decoded in a process of their own, so that none can crash, bloat or hang this one.

A child decodes picture after picture. One that ends, hangs or asks for more than ``MEMORY`` costs
the picture that made it do so; the next picture gets a new child.
"""

import atexit
import io
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from rarebooth.decoder_child import ANSWER, READY, REQUEST
from rarebooth.errors import ResourceError
from rarebooth.photos import Pixels, UnusablePhotoError

MEMORY = 2 * 2**30
"""Bytes of address space the child may have: 64 megapixels of WebP, the greediest kind, need 1.2
GiB of it, with the interpreter's own 0.1 and 0.1 for the file."""

SECONDS = 30
"""What a picture may take: 64 megapixels of WebP, the slowest kind, take 6 on a slow processor."""

_START = 60  # seconds for the child's imports, 0.3 where the disk is not asleep
_LONGEST_REASON = 4096  # bytes
_KEPT = ("LD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")  # without which Python may not start


def decode(data: bytes, size: int) -> tuple[Pixels, tuple[int, int]]:
    """``rarebooth.photos.decode``, in a child process that all callers share.

    Raises:
        UnusablePhotoError: as there; or the picture made the child end, or take too long.
        ResourceError: the child cannot be started.
    """
    return _shared.decode(data, size)


def close() -> None:
    """End the child and give its memory back; the next picture starts another."""
    _shared.close()


@dataclass
class Decoder:
    """A child that decodes, started when it is first needed.

    ``memory`` in bytes of address space, where the system limits it; ``seconds`` for one picture.
    Threads wait for one another; a fork of this process starts a child of its own.
    """

    memory: int = MEMORY
    seconds: int = SECONDS
    child: subprocess.Popen[bytes] | None = None
    _answers: io.BufferedReader = field(init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def decode(self, data: bytes, size: int) -> tuple[Pixels, tuple[int, int]]:
        """See the function."""
        with self._lock:
            try:
                if self.child is None or self.child.poll() is not None:
                    self._start()
                return self._ask(data, size)
            except UnusablePhotoError:
                raise
            except BaseException:
                # A child whose answer nobody waited for would give it to the next picture.
                self._end()
                raise

    def close(self) -> None:
        """End the child; the next picture starts another."""
        with self._lock:
            self._end()

    def forget(self) -> None:
        """In a fork: the child is the parent's, and so is a lock that another thread held."""
        self.child = None
        self._lock = threading.Lock()

    def _start(self) -> None:
        self._end()
        command = [sys.executable, "-P", "-m", "rarebooth.decoder_child"]
        try:
            self.child = subprocess.Popen(
                [*command, str(self.memory), str(self.seconds)],
                bufsize=0,  # a fork must not hold a copy of half a request
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                # Ctrl-C is this process's to handle.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise _unstartable(error.strerror or str(error)) from error
        self._answers = io.BufferedReader(_raw(self.child.stdout))
        with _Limit(self.child, _START):
            ready = self._answers.read(len(READY))
        if ready != READY:
            raise _unstartable(_ending(self.child))

    def _ask(self, data: bytes, size: int) -> tuple[Pixels, tuple[int, int]]:
        child = self.child
        assert child is not None
        with _Limit(child, self.seconds) as limit:
            answer = self._exchange(_raw(child.stdin), data, size)
        if limit.passed or answer is None:
            how = _ending(child)
            self._end()
            if limit.passed:
                raise UnusablePhotoError(
                    f"this file took longer than {self.seconds} s to decode; save it anew, smaller"
                )
            raise UnusablePhotoError(f"this file made the decoder end ({how}); save it anew")
        if isinstance(answer, str):
            raise UnusablePhotoError(answer)
        return answer

    def _exchange(
        self, requests: io.RawIOBase, data: bytes, size: int
    ) -> tuple[Pixels, tuple[int, int]] | str | None:
        """The picture or the reason; None if the child ended, or said what no sound child says."""
        try:
            for part in (REQUEST.pack(size, len(data)), data):
                rest = memoryview(part)
                while rest:
                    rest = rest[requests.write(rest) :]
        except OSError:
            return None
        header = self._answers.read(ANSWER.size)
        if len(header) < ANSWER.size:
            return None
        usable, width, height, length = ANSWER.unpack(header)
        # What a picture took over is not believed: no more is read than there can be.
        if length != size * size * 3 if usable else length > _LONGEST_REASON:
            return None
        body = self._answers.read(length)
        if len(body) < length:
            return None
        if not usable:
            return body.decode("utf-8", "replace")
        return np.frombuffer(body, np.uint8).reshape(size, size, 3), (width, height)

    def _end(self) -> None:
        child, self.child = self.child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                _raw(pipe).close()


class _Limit:
    """Kills a child that is not done when the block has lasted so many seconds."""

    def __init__(self, child: subprocess.Popen[bytes], seconds: float) -> None:
        self.passed = False
        self._child = child
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True

    def __enter__(self) -> "_Limit":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()  # so that a blow that has been dealt is known of

    def _pass(self) -> None:
        self.passed = True
        self._child.kill()


def _environment() -> dict[str, str]:
    """What the child needs to find the same libraries; none of what else the user has set."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**kept, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}


def _raw(pipe: IO[bytes] | None) -> io.RawIOBase:
    assert isinstance(pipe, io.RawIOBase)  # which bufsize=0 makes it
    return pipe


def _ending(child: subprocess.Popen[bytes]) -> str:
    child.kill()  # one that talks nonsense has not ended yet
    code = child.wait()
    return f"exit code {code}" if code >= 0 else signal.strsignal(-code) or f"signal {-code}"


def _unstartable(reason: str) -> ResourceError:
    return ResourceError(
        f"The process that decodes photos cannot be started: {reason}. Free some memory, and see "
        f"that `{sys.executable} -m rarebooth.decoder_child` can run."
    )


_shared = Decoder()
atexit.register(_shared.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.forget)
