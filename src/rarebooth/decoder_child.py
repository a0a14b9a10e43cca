"""The process that decodes photos, and the words in which it is spoken to.

A request is ``REQUEST`` and the file's bytes; the answer is ``ANSWER`` and either the pixels or the
reason why there are none. ``rarebooth.decoder`` starts it; it ends when its input does.
"""

import contextlib
import os
import signal
import struct
import sys

from rarebooth.photos import UnusablePhotoError, decode

READY = b"\n"
"""What is said once, when the first request can be taken."""

REQUEST = struct.Struct("<IQ")
"""Side of the square, and how many bytes of the file follow."""

ANSWER = struct.Struct("<?IIQ")
"""Whether it is usable, the upright (width, height), and how many bytes follow: uint8 pixels
[size, size, 3], or the reason in UTF-8."""

_GRACE = 5  # seconds: the parent ends a slow picture, this process only if there is no parent


def serve(memory: int, seconds: int) -> None:
    """Answer requests until there are no more.

    ``memory``: bytes of address space that this process may have, where the system limits it.
    ``seconds``: what a picture may take, before the process ends itself.
    """
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # What a library prints must not be taken for an answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _bound(memory)
    answers.write(READY)
    answers.flush()
    while len(header := requests.read(REQUEST.size)) == REQUEST.size:
        size, length = REQUEST.unpack(header)
        _end_in(seconds + _GRACE)
        for part in _answer(requests.read(length), size):
            answers.write(part)
        answers.flush()
        _end_in(0)


def _answer(data: bytes, size: int) -> tuple[bytes, bytes]:
    try:
        pixels, (width, height) = decode(data, size)
    except UnusablePhotoError as error:
        reason = str(error).encode("utf-8", "replace")
        return ANSWER.pack(False, 0, 0, len(reason)), reason
    return ANSWER.pack(True, width, height, pixels.nbytes), pixels.tobytes()


def _bound(memory: int) -> None:
    if sys.platform != "win32":
        import resource  # noqa: PLC0415

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold somebody's photo
        with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _end_in(seconds: int) -> None:
    """The system ends this process after so long; 0 calls it off."""
    if sys.platform != "win32":
        signal.alarm(seconds)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
