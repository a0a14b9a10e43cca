"""What decoding in a child gives is what decoding gives, and nothing it does reaches the parent."""

import gc
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rarebooth import decoder as module
from rarebooth import photos
from rarebooth.decoder import Decoder
from rarebooth.errors import ResourceError
from rarebooth.photos import UnusablePhotoError

posix = pytest.mark.skipif(os.name != "posix", reason="this system has no such signals")
linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what a process holds")


def encoded(mode="RGB", kind="PNG", extent=(131, 96), **options):
    image = Image.radial_gradient("L").resize(extent).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(kind="JPEG", exif=exif)


GOOD = [
    encoded(),
    encoded("RGBA", "WEBP"),
    encoded("CMYK", "JPEG"),
    encoded("I;16"),
    encoded("P", transparency=0),
    encoded(kind="JPEG", extent=(1100, 900)),
    turned(),
]
BAD = [
    b"",
    b"hello, I am a note",
    encoded()[:-400],
    encoded(kind="GIF"),
    encoded(extent=(30, 30)),
    encoded(extent=(64, 400)),
    b"\xff\xd8\xff\xe0" + bytes(40),
    b"\0\0\0\x1cftypheic" + bytes(60),
]


@pytest.fixture(scope="module")
def apart():
    made = Decoder()
    yield made
    made.close()


@pytest.fixture
def fresh():
    """Makes decoders that end with the test."""
    made = []

    def make(**bounds):
        made.append(Decoder(**bounds))
        return made[-1]

    yield make
    for each in made:
        each.close()


def reason(decode, data):
    with pytest.raises(UnusablePhotoError) as caught:
        decode(data, 64)
    return str(caught.value)


def wait_until_gone(pid):
    give_up = time.monotonic() + 20
    while state_of(pid) not in {"gone", "Z"}:
        assert time.monotonic() < give_up
        time.sleep(0.01)


def state_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "gone"


@pytest.mark.parametrize("size", [1, 64, 512])
@pytest.mark.parametrize("data", GOOD)
def test_the_same_pixels_come_back(data, size, apart):
    pixels, original = apart.decode(data, size)
    expected, extent = photos.decode(data, size)
    np.testing.assert_array_equal(pixels, expected)
    assert pixels.dtype == np.uint8
    assert not pixels.flags.writeable
    assert original == extent


@pytest.mark.parametrize("data", BAD)
def test_the_same_reason_comes_back(data, apart):
    assert reason(apart.decode, data) == reason(photos.decode, data)


def test_one_child_serves_them_all(apart):
    apart.decode(GOOD[0], 64)
    child = apart.child
    for data in BAD:
        reason(apart.decode, data)
    threads = [threading.Thread(target=apart.decode, args=(GOOD[0], 64)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert apart.child is child
    assert child.poll() is None


@posix
def test_a_child_that_ends_costs_one_picture(fresh):
    decoder = fresh()
    decoder.decode(GOOD[0], 64)
    first = decoder.child
    os.kill(first.pid, signal.SIGSTOP)  # so that the blow falls while it has the picture
    blow = threading.Timer(0.3, os.kill, (first.pid, signal.SIGSEGV))
    blow.start()
    threading.Timer(0.35, os.kill, (first.pid, signal.SIGCONT)).start()
    said = reason(decoder.decode, GOOD[0])
    assert said == "this file made the decoder end (Segmentation fault); save it anew"
    decoder.decode(GOOD[0], 64)
    assert decoder.child is not first


@posix
def test_a_child_that_ended_between_two_pictures_costs_none(fresh):
    decoder = fresh()
    decoder.decode(GOOD[0], 64)
    first = decoder.child
    first.kill()
    first.wait()
    decoder.decode(GOOD[0], 64)


@posix
@pytest.mark.parametrize("data", [GOOD[0], bytes(2**20)], ids=["heard", "not even heard"])
def test_a_child_that_hangs_is_not_waited_for(data, fresh):
    decoder = fresh(seconds=1)
    decoder.decode(GOOD[0], 64)
    first = decoder.child
    os.kill(first.pid, signal.SIGSTOP)
    start = time.monotonic()
    assert "took longer than 1 s" in reason(decoder.decode, data)
    assert 1 <= time.monotonic() - start < 4
    assert first.returncode == -signal.SIGKILL
    decoder.decode(GOOD[0], 64)


@posix
def test_an_answer_that_nobody_waited_for_is_given_to_nobody(fresh, monkeypatch):
    decoder = fresh()
    decoder.decode(GOOD[0], 64)

    class Interrupted:
        size = module.ANSWER.size

        def unpack(self, header):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "ANSWER", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            decoder.decode(GOOD[0], 64)
    pixels, _ = decoder.decode(GOOD[-1], 64)
    np.testing.assert_array_equal(pixels, photos.decode(GOOD[-1], 64)[0])


@linux
def test_a_picture_that_wants_more_memory_than_there_is_is_refused(fresh):
    decoder = fresh(memory=350 * 2**20)
    large = encoded("P", extent=(7900, 7900), compress_level=1, transparency=0)  # 300 MiB in all
    assert "needs more memory" in reason(decoder.decode, large)
    decoder.decode(GOOD[0], 64)


@pytest.mark.parametrize(
    "header", [(True, 9, 9, 2**60), (False, 0, 0, 2**60), (True, 9, 9, 64 * 64 * 3 - 1)]
)
def test_a_child_that_is_taken_over_is_not_believed(header, fresh, monkeypatch):
    start = subprocess.Popen
    liar = f"""
import sys
from rarebooth.decoder_child import ANSWER, READY
sys.stdout.buffer.write(READY + ANSWER.pack(*{header!r}) + bytes(10**5))
sys.stdout.buffer.flush()
sys.stdin.buffer.read()
"""

    def started(command, **given):
        return start([command[0], "-c", liar], **given)

    monkeypatch.setattr(module.subprocess, "Popen", started)
    assert "made the decoder end" in reason(fresh().decode, GOOD[0])


def test_a_child_that_cannot_start_is_no_picture_s_fault(fresh, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(tmp_path / "gone"))
        with pytest.raises(ResourceError, match=r"cannot be started: No such file"):
            fresh().decode(GOOD[0], 64)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(module, "_environment", lambda: {"PYTHONHOME": str(tmp_path)})
    decoder = fresh()
    with pytest.raises(ResourceError, match=r"cannot be started: exit code 1"):
        decoder.decode(GOOD[0], 64)
    assert decoder.child is None


@linux
def test_the_child_knows_no_secret_and_holds_nothing_of_the_parent(fresh, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    decoder = fresh()
    with (tmp_path / "open").open("wb") as file:
        os.set_inheritable(file.fileno(), True)
        decoder.decode(GOOD[0], 64)
    home = Path(f"/proc/{decoder.child.pid}")
    assert b"secret" not in (home / "environ").read_bytes()
    held = {str(each.readlink()) for each in (home / "fd").iterdir()}
    assert all(name.startswith("pipe:") or name == "/dev/null" for name in held)
    assert "torch" not in (home / "maps").read_text()
    limits = (home / "limits").read_text()
    assert str(module.MEMORY) in limits


def test_nothing_heavy_is_imported_by_the_child():
    code = "import sys, rarebooth.decoder_child; print(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "diffusers", "transformers", "pydantic", "subprocess"} & set(said)


@linux
def test_no_child_outlives_its_parent(tmp_path):
    (tmp_path / "photo").write_bytes(GOOD[0])
    code = f"""
import os, pathlib, signal, sys
from rarebooth import decoder
decoder.decode(pathlib.Path({str(tmp_path / "photo")!r}).read_bytes(), 64)
print(decoder._shared.child.pid, flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""
    for way, expected in (("killed", -signal.SIGKILL), ("left", 0)):
        parent = subprocess.run(
            [sys.executable, "-c", code, way], capture_output=True, text=True, check=False
        )
        assert parent.returncode == expected
        assert not parent.stderr
        wait_until_gone(int(parent.stdout))


@linux
def test_a_child_that_hangs_without_a_parent_ends_itself(monkeypatch):
    code = """
import sys, time
from rarebooth import decoder_child
decoder_child._GRACE = 0
decoder_child.decode = lambda data, size: time.sleep(60)
decoder_child.serve(2**31, 1)
"""
    request, ours = os.pipe()
    os.write(ours, module.REQUEST.pack(64, 0))
    child = subprocess.Popen([sys.executable, "-c", code], stdin=request, stdout=subprocess.DEVNULL)
    assert child.wait(20) == -signal.SIGALRM
    os.close(request)
    os.close(ours)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_has_a_child_of_its_own(tmp_path):
    code = f"""
import os
from rarebooth import decoder
data = {GOOD[0]!r}
decoder.decode(data, 64)
ours = decoder._shared.child.pid
decoder._shared._lock.acquire()
if not (pid := os.fork()):
    decoder.decode(data, 64)
    raise SystemExit(decoder._shared.child.pid == ours)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
decoder._shared._lock.release()
decoder.decode(data, 64)
assert decoder._shared.child.pid == ours
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_decoder_that_is_closed_leaves_nothing_open(fresh, recwarn):
    decoder = fresh()
    decoder.decode(GOOD[0], 64)
    child = decoder.child
    decoder.close()
    assert child.returncode is not None
    del decoder, child
    gc.collect()
    assert not [each for each in recwarn if each.category is ResourceWarning]
