"""What survives on disk: a crash at any write, a full disk, a flipped byte, a second process."""

import errno
import json
import os
import platform
import shutil
import signal
import stat
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from faults import Died, faults, operations
from rarebooth import store
from rarebooth.errors import BusyError, DivergedError, ResourceError
from rarebooth.run import State


def state(stage="token", done=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = {"(rare)": torch.randn(1, 6, generator=generator)}
    slots = {slot: {"(rare)": torch.randn(1, 6, generator=generator)} for slot in ("m", "v")}
    finished = {} if stage == "token" else {"token": {"(rare)": torch.ones(1, 6) * seed}}
    return State(stage, done, finished, weights, slots)


def same(one, other):
    def flat(found):
        groups = {"weights": found.weights, **found.optimiser, **found.finished}
        return {
            (group, name): tensor
            for group, tensors in groups.items()
            for name, tensor in tensors.items()
        }

    if one is None or (one.stage, one.done) != (other.stage, other.done):
        return False
    left, right = flat(one), flat(other)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch):
    """What is tested is what is flushed and when; waiting for a real disk adds nothing."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
FULL_IN_RUST = SafetensorError('IoError(Os { code: 28, message: "No space left on device" })')
before_and_after = pytest.mark.parametrize(
    ("before", "after"),
    [
        (state("token", 5), state("token", 10, seed=1)),
        (state("token", 10), state("denoiser", 1, seed=2)),
        (state("denoiser", 9), state("denoiser", 10, seed=3)),
    ],
    ids=["within", "next-stage", "later"],
)


def test_a_state_is_read_as_it_was_written(tmp_path):
    for written in (state("token", 5), state("denoiser", 123456789, seed=4)):
        store.save_state(tmp_path, written)
        assert same(store.load_state(tmp_path)[0], written)


def test_no_folder_and_an_empty_one_hold_no_state(tmp_path):
    assert store.load_state(tmp_path / "absent") == (None, [])
    assert store.load_state(tmp_path) == (None, [])


@before_and_after
def test_the_newest_state_and_the_one_before_are_kept(tmp_path, before, after):
    store.save_state(tmp_path, state("token", 1))
    store.save_state(tmp_path, before)
    store.save_state(tmp_path, after)
    assert {entry.name for entry in tmp_path.iterdir()} == {
        f"{each.stage}-{each.done:08d}" for each in (before, after)
    }


def test_while_a_state_is_written_there_is_room_for_two(tmp_path, monkeypatch):
    for done in (1, 2, 3):
        store.save_state(tmp_path, state("token", done))
    whole, seen = store.save_file, []

    def save_file(tensors, path):
        seen.append(sorted(entry.name for entry in tmp_path.iterdir()))
        whole(tensors, path)

    monkeypatch.setattr(store, "save_file", save_file)
    store.save_state(tmp_path, state("token", 4))
    assert {tuple(names) for names in seen} == {
        (f".part-token-00000004-{os.getpid()}", "token-00000003")
    }


def test_the_order_of_states_is_that_of_training_whatever_the_clock_says(tmp_path):
    for moment, each in ((300, state("token", 7)), (200, state("denoiser", 2))):
        store.save_state(tmp_path, each)
        os.utime(tmp_path / f"{each.stage}-{each.done:08d}", (moment, moment))
    found, damaged = store.load_state(tmp_path)
    assert found is not None
    assert (found.stage, found.done, damaged) == ("denoiser", 2, [])
    store.save_state(tmp_path, state("denoiser", 3))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "denoiser-00000002",
        "denoiser-00000003",
    ]


def test_states_further_on_are_damaged_ones_and_make_way(tmp_path):
    for done in (3, 6):
        store.save_state(tmp_path, state("token", done))
    (tmp_path / "token-00000006" / store.WEIGHTS).unlink()
    found, damaged = store.load_state(tmp_path)
    assert found is not None
    assert (found.done, damaged) == (3, ["token-00000006"])
    store.save_state(tmp_path, state("token", 5))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "token-00000003",
        "token-00000005",
    ]


@before_and_after
def test_a_death_at_any_write_leaves_a_whole_state(tmp_path, before, after):
    def fresh(name):
        store.save_state(tmp_path / name, before)
        return tmp_path / name

    folder = fresh("counted")
    count = operations(lambda: store.save_state(folder, after))
    assert count > 10
    reached = set()
    for at in range(1, count + 1):
        folder = fresh(str(at))
        with faults(at), pytest.raises(Died):
            store.save_state(folder, after)
        found, damaged = store.load_state(folder)
        assert damaged == []
        assert found is not None
        assert same(found, before) or same(found, after)
        reached.add(found.done)
        store.save_state(folder, after)
        assert same(store.load_state(folder)[0], after)
        assert len(list(folder.iterdir())) == 2
    assert reached == {before.done, after.done}


@pytest.mark.parametrize("error", [FULL, FULL_IN_RUST], ids=["os", "safetensors"])
def test_a_full_disk_at_any_write_keeps_the_previous_state(tmp_path, error):
    before, after = state("token", 5), state("denoiser", 1, seed=1)
    store.save_state(tmp_path / "counted", before)
    count = operations(lambda: store.save_state(tmp_path / "counted", after))
    refused = 0
    for at in range(1, count + 1):
        folder = tmp_path / str(at)
        store.save_state(folder, before)
        os.utime(folder / "token-00000005", (0, 0))  # two saves may fall into one tick of the clock
        raised = None
        try:
            with faults(at, error):
                store.save_state(folder, after)
        except ResourceError as caught:
            raised = caught
        except SafetensorError:
            continue  # only save_file can raise it; elsewhere the fault is not a real one
        found = store.load_state(folder)[0]
        if raised is None:
            assert same(found, after)
        else:
            refused += 1
            assert raised.exit_code == 4
            for part in ("No space is left", "denoiser-00000001", str(folder), "bytes are free"):
                assert part in str(raised)
            assert same(found, before) or same(found, after)
        store.save_state(folder, after)
        assert same(store.load_state(folder)[0], after)
        assert len(list(folder.iterdir())) == 2
    assert refused >= 10 or error is FULL_IN_RUST
    assert refused >= 3


def test_files_reach_the_disk_before_they_get_their_name(tmp_path):
    store.save_state(tmp_path, state("token", 5))
    with faults(0) as recorded:
        store.save_state(tmp_path, state("token", 10))
    names = [name for name, _ in recorded.log]
    renamed = next(
        place
        for place, (name, paths) in enumerate(recorded.log)
        if name == "replace" and paths[-1].endswith("/token-00000010")
    )
    # The folder above, the weights, two slots and the manifest, and the folder that they are in.
    assert names[:renamed].count("fsync") == 6
    assert names.index("write_text") > names.index("fsync")
    assert names[renamed + 1] == "fsync"  # the folder that holds the name
    assert "rmdir" not in names  # the state before stays


def test_any_flipped_byte_is_noticed(tmp_path):
    written = state("denoiser", 12, seed=3)
    store.save_state(tmp_path, written)
    folder = tmp_path / "denoiser-00000012"
    files = [file for file in sorted(folder.iterdir()) if file.name != store.MANIFEST]
    assert len(files) == 4  # the weights, two slots and the finished stage
    for file in files:
        content = file.read_bytes()
        for place in range(0, len(content), 3):
            flipped = bytearray(content)
            flipped[place] ^= 1 << place % 8
            file.write_bytes(flipped)
            assert store.load_state(tmp_path) == (None, [folder.name])
        file.write_bytes(content)
    assert same(store.load_state(tmp_path)[0], written)


def test_any_flipped_bit_of_a_manifest_is_named_and_the_older_state_used(tmp_path, monkeypatch):
    whole = store.digest
    monkeypatch.setattr(store, "digest", lambda path: whole(path)[:8])  # there are bits enough
    weights = {"(rare)": torch.ones(1)}
    for each in (
        State("token", 4, {}, weights, {}),
        State("denoiser", 3, {"token": weights}, weights, {"m": weights}),
    ):
        store.save_state(tmp_path, each)
    manifest = tmp_path / "denoiser-00000003" / store.MANIFEST
    content = manifest.read_bytes()
    for place in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        manifest.write_bytes(flipped)
        found, damaged = store.load_state(tmp_path)
        assert found is not None
        assert (found.stage, found.done) == ("token", 4), flipped
        assert damaged == ["denoiser-00000003"], flipped


def test_a_manifest_says_what_lies_beside_it_and_nothing_else(tmp_path):
    folder, older, newer = both_states(tmp_path)
    newest = folder / "denoiser-00000003"
    manifest = newest / store.MANIFEST
    content = manifest.read_text("utf-8")
    for name in json.loads(content)["sha256"]:
        less = json.loads(content)
        del less["sha256"][name]
        manifest.write_text(json.dumps(less, indent=2), "utf-8")
        found, damaged = store.load_state(folder)
        assert same(found, older)
        assert damaged == [newest.name]
    manifest.write_text(content, "utf-8")
    (newest / ".DS_Store").touch()  # a file manager was here
    assert same(store.load_state(folder)[0], newer)
    shutil.copy(newest / "optimiser-m.safetensors", newest / "optimiser-n.safetensors")
    found, damaged = store.load_state(folder)
    assert same(found, older)
    assert damaged == [newest.name]


def both_states(folder):
    """An older and a newer state side by side, as a crash before the clean-up leaves them."""
    older, newer = state("token", 100), state("denoiser", 3, seed=1)
    store.save_state(folder / "older", older)
    store.save_state(folder / "state", newer)
    shutil.copytree(folder / "older" / "token-00000100", folder / "state" / "token-00000100")
    for age, name in ((60, "token-00000100"), (0, "denoiser-00000003")):
        moment = time.time() - age
        os.utime(folder / "state" / name, (moment, moment))
    return folder / "state", older, newer


def test_the_newest_state_is_used(tmp_path):
    folder, _, newer = both_states(tmp_path)
    found, damaged = store.load_state(folder)
    assert same(found, newer)
    assert damaged == []


@pytest.mark.parametrize("file", ["weights", "optimiser-m", "finished-token", "manifest"])
@pytest.mark.parametrize("harm", ["flipped", "half", "empty", "gone"])
def test_a_damaged_state_is_named_and_the_older_one_used(tmp_path, file, harm):
    folder, older, _ = both_states(tmp_path)
    suffix = "json" if file == "manifest" else "safetensors"
    path = folder / "denoiser-00000003" / f"{file}.{suffix}"
    content = path.read_bytes()
    if harm == "gone":
        path.unlink()
    elif harm == "flipped":
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    else:
        path.write_bytes(content[: len(content) // 2 if harm == "half" else 0])
    found, damaged = store.load_state(folder)
    assert same(found, older)
    assert damaged == ["denoiser-00000003"]


@pytest.mark.parametrize("content", ["[]", "3", '{"sha256": 1}', '{"sha256": [], "done": "x"}'])
def test_a_manifest_of_another_kind_is_damage(tmp_path, content):
    folder, older, _ = both_states(tmp_path)
    (folder / "denoiser-00000003" / store.MANIFEST).write_text(content)
    found, damaged = store.load_state(folder)
    assert same(found, older)
    assert damaged == ["denoiser-00000003"]


def test_a_damaged_state_is_replaced_by_the_next(tmp_path):
    store.save_state(tmp_path, state("token", 5))
    (tmp_path / "token-00000005" / "weights.safetensors").write_bytes(b"")
    store.save_state(tmp_path, state("token", 5, seed=9))
    found, damaged = store.load_state(tmp_path)
    assert same(found, state("token", 5, seed=9))
    assert damaged == []


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file.json"
    store.write_json(path, {"b": 1, "a": "ä"})
    count = operations(lambda: store.write_json(path, {"b": 2}))
    assert path.read_text("utf-8") == '{\n  "b": 2\n}\n'
    contents = set()
    for at in range(1, count + 1):
        for error in (Died, FULL):
            store.write_json(path, {"b": 1, "a": "ä"})
            try:
                with faults(at, error):
                    store.write_json(path, {"b": 2})
            except (Died, ResourceError):
                pass
            content = json.loads(path.read_text("utf-8"))
            assert content in ({"b": 1, "a": "ä"}, {"b": 2})
            contents.add(len(content))
    assert contents == {1, 2}


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
@pytest.mark.parametrize("where", ["weights", "optimiser", "token"])
def test_a_state_that_is_not_finite_is_never_saved(tmp_path, where, bad):
    before, after = state("token", 5), state("denoiser", 1, seed=1)
    store.save_state(tmp_path, before)
    groups = {"weights": after.weights, "optimiser": after.optimiser["v"], **after.finished}
    groups[where]["(rare)"][0, 3] = bad
    with pytest.raises(DivergedError, match="denoiser-00000001 was not saved"):
        store.save_state(tmp_path, after)
    assert [entry.name for entry in tmp_path.iterdir()] == ["token-00000005"]
    assert same(store.load_state(tmp_path)[0], before)


def test_writing_a_state_takes_one_files_tensors_to_the_host_at_a_time(tmp_path, monkeypatch):
    """On a GPU every file's tensors are copied; the files before must be let go by then."""
    alive = []
    whole = store.save_file

    def watched(tensors, path):
        assert all(reference() is None for reference in alive)
        assert len(tensors) == 1
        alive[:] = [weakref.ref(tensor) for tensor in tensors.values()]
        whole(tensors, path)

    monkeypatch.setattr(torch.Tensor, "cpu", torch.Tensor.clone)
    monkeypatch.setattr(store, "save_file", watched)
    store.save_state(tmp_path, state("denoiser", 3))
    assert alive


def test_a_state_that_was_read_holds_no_file(tmp_path):
    store.save_state(tmp_path, state("denoiser", 3))
    found, _ = store.load_state(tmp_path)
    assert found is not None
    tensor = found.weights["(rare)"].clone()
    maps = Path("/proc/self/maps")
    if maps.is_file():
        assert str(tmp_path) not in maps.read_text()
    assert torch.equal(tensor, state("denoiser", 3).weights["(rare)"])


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_folder_that_cannot_be_flushed_is_no_failure(tmp_path, monkeypatch, number):
    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, "no")

    monkeypatch.setattr(os, "fsync", fsync)
    store.write_json(tmp_path / "a.json", {})
    store.save_state(tmp_path / "state", state())
    assert same(store.load_state(tmp_path / "state")[0], state())


def test_files_are_flushed_through_a_handle_that_may_write(tmp_path, monkeypatch):
    """Windows refuses to flush what was opened to read."""
    modes = []

    def fsync(handle):
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            os.write(handle, b"")  # EBADF where the handle only reads
            modes.append(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(store, "_WINDOWS", True)
    store.write_json(tmp_path / "a.json", {})
    store.save_state(tmp_path / "state", state())
    assert len(modes) == 5


def test_processes_of_one_number_in_two_containers_write_beside_each_other(tmp_path):
    path = tmp_path / "file"
    with store.writing(path) as one, store.writing(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(error):
        with store.writing(path) as beside:
            beside.write_text("half")
            raise error

    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError())
    with pytest.raises(ResourceError, match="No space is left to write file"):
        fail(FULL)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.json", tmp_path / "file" / "deep" / "a.json"):
        with pytest.raises(
            ResourceError, match=r"a\.json cannot be written into .*--out"
        ) as caught:
            store.write_json(path, {})
        assert caught.value.exit_code == 4
    with pytest.raises(ResourceError):
        store.save_state(tmp_path / "file", state())
    with pytest.raises(ResourceError), store.lock(tmp_path / "file"):
        pass


def test_json_keeps_its_order_and_its_letters(tmp_path):
    store.write_json(tmp_path / "a.json", {"z": "ü", "a": None})
    assert (tmp_path / "a.json").read_bytes() == '{\n  "z": "ü",\n  "a": null\n}\n'.encode()


HOLDER = """
import sys, time, filelock
held = filelock.FileLock(sys.argv[1], timeout=0)
held.acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_one_process_at_a_time_and_freed_by_a_kill(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with (
                pytest.raises(BusyError, match="Another process is training") as caught,
                store.lock(tmp_path),
            ):
                pass
            assert caught.value.exit_code == 2
            with pytest.raises(BusyError, match="Another process is training"):
                store.require_free(tmp_path)
        finally:
            holder.send_signal(signal.SIGKILL)
    with store.lock(tmp_path):
        refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert "Timeout" in refused.stderr
        with (
            pytest.raises(BusyError, match=rf"\(process {os.getpid()} on {platform.node()}\)"),
            store.lock(tmp_path),
        ):
            pass
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".lock"]
    store.require_free(tmp_path)
    with store.lock(tmp_path):
        pass


def test_the_lock_is_freed_by_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), store.lock(tmp_path):
        raise ZeroDivisionError
    with store.lock(tmp_path):
        pass


@pytest.mark.parametrize("error", [FULL, OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))])
def test_a_disk_or_a_share_of_it_that_is_used_up_is_told_as_full(tmp_path, error):
    in_rust = SafetensorError(f"I/O error: {error.strerror} (os error {error.errno})")
    for each in (error, in_rust):
        assert "No space is left to write a.json" in str(
            store.unwritable(tmp_path / "a.json", each)
        )
    assert "cannot be written" in str(store.unwritable(tmp_path / "a.json", OSError(1, "no")))
