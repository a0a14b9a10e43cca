"""Compiled blocks: what is compiled and when, what becomes of a failure, and the same result.

Most tests run what torch captures as it is ("eager"): when it captures anew, and what follows from
an error, is the same whoever compiles.
"""

import atexit
import copy
import os
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch.utils.checkpoint import checkpoint

from rarebooth.bases.compiling import KEPT_IN, compiled
from rarebooth.errors import SettingsError
from rarebooth.quote import quote
from training_jobs import finish, stop_after


class Block(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.turn = nn.Linear(width, width)

    def forward(self, given):
        return given + nn.functional.gelu(self.turn(given))


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """The user's cache folder, where nobody has compiled anything yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(KEPT_IN, "")
    return tmp_path


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(Block(), nn.Linear(4, 8), Block(8), Block(8))


@pytest.fixture
def captured(monkeypatch):
    """The widths that are captured, in order; torch forgets what it captured in other tests."""
    widths = []

    def backend(graph, given):
        widths.append(max(tensor.shape[-1] for tensor in given))
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    return widths


def answer(network, rows=2):
    given = torch.randn((rows, 4), generator=torch.Generator().manual_seed(rows))
    return network(given)


def gradients(network, rows=2):
    network.zero_grad()
    answer(network, rows).square().mean().backward()
    return [weight.grad.clone() for weight in network.parameters() if weight.grad is not None]


def same(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


def require_as_it_was(network):
    assert not any("forward" in vars(module) for module in network.modules())


def test_blocks_of_one_width_are_compiled_once_and_given_back(network, captured):
    plain = gradients(network)
    with compiled(network, Block, pytest.fail):
        assert same(gradients(network), plain)
        assert same(gradients(network), plain)
    require_as_it_was(network)
    with compiled(network, Block, pytest.fail):
        assert same(gradients(network), plain)
    assert captured == [4, 8]


def test_what_torch_compiled_is_kept_where_nobody_else_can_leave_files(network, caches):
    (caches / "rarebooth" / "compiled").mkdir(mode=0o777, parents=True)
    with compiled(network, Block, pytest.fail):
        kept = Path(os.environ[KEPT_IN])
    assert kept == caches / "rarebooth" / "compiled"
    assert kept.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_the_user_names_for_what_is_compiled_is_left_to_them(
    network, caches, monkeypatch
):
    monkeypatch.setenv(KEPT_IN, str(caches / "mine"))
    with compiled(network, Block, pytest.fail):
        assert os.environ[KEPT_IN] == str(caches / "mine")
    assert list(caches.iterdir()) == []


def test_where_the_caches_cannot_be_written_what_is_compiled_is_kept_apart_and_goes(
    network, caches, monkeypatch
):
    at_exit = []
    monkeypatch.setattr(atexit, "register", lambda *given, **more: at_exit.append((given, more)))
    (caches / "rarebooth").write_text("in the way")
    with compiled(network, Block, pytest.fail):
        kept = Path(os.environ[KEPT_IN])
    assert kept.stat().st_mode & 0o777 == 0o700
    ((remove, *given), more) = at_exit[-1]
    remove(*given, **more)
    assert not kept.exists()


def test_where_no_gradients_are_formed_nothing_is_compiled(network, captured):
    with compiled(network, Block, pytest.fail), torch.no_grad():
        answer(network)
    assert captured == []


def test_every_size_is_compiled_for_itself(network, captured):
    """One that serves all would round as the sizes before it had it, and a resume has seen none."""
    one, sizes = network[:1], range(1, 10)
    plain = [gradients(one, rows) for rows in sizes]
    with compiled(one, Block, pytest.fail):
        assert all(map(same, [gradients(one, rows) for rows in sizes], plain))
    assert captured == [4] * 9  # torch's own limit is 8, beyond which it would compile no more


def test_a_part_that_is_frozen_or_changed_is_not_taken_for_what_it_was(network, captured):
    network.requires_grad_(False)
    network[0].requires_grad_(True)
    with compiled(network, Block, pytest.fail):
        assert len(gradients(network)) == 2
        network.requires_grad_(True)
        assert len(gradients(network)) == 8
        with torch.no_grad():
            network[2].turn.weight.mul_(2)
        found = gradients(network)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = answer(network)
    assert same(found, gradients(network))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rounded, answer(network))
    assert not torch.equal(rounded, answer(network))


def test_hooks_that_come_and_go_are_heeded(network, captured):
    plain = gradients(network)
    held = []
    for _ in range(2):
        with compiled(network, Block, pytest.fail):
            assert same(gradients(network), plain)
            hook = network[3].turn.register_forward_hook(lambda _, __, out: out.detach())
            held.append(gradients(network))
            hook.remove()
            assert same(gradients(network), plain)
    assert len(held[0]) == len(plain) - 2
    assert same(*held)


def failing(monkeypatch, fails):
    """A compiler that fails for some widths; returns those that it was asked for."""
    asked = []

    def backend(graph, given):
        asked.append(max(tensor.shape[-1] for tensor in given))
        if fails(asked[-1]):
            raise OSError("no compiler: cannot allocate memory for it\nand more")
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    return asked


def test_without_a_compiler_all_is_as_it_was_and_said_once(network, monkeypatch):
    plain, told = gradients(network), []
    asked = failing(monkeypatch, lambda _: True)
    with compiled(network, Block, told.append):
        assert same(gradients(network), plain)
        assert same(gradients(network, 3), gradients(network, 3))
    assert asked == [4]
    (sentence,) = told
    assert "without compiling" in sentence
    assert "no compiler" in sentence
    assert "and more" not in sentence
    require_as_it_was(network)


def test_a_way_back_that_cannot_be_compiled_is_known_on_the_way_forward(network, monkeypatch):
    plain, told = gradients(network), []

    def refuse(*_):
        raise OSError("no compiler")

    backend = aot_autograd(fw_compiler=lambda graph, _: graph.forward, bw_compiler=refuse)
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    with compiled(network, Block, told.append):
        assert same(gradients(network), plain)
    assert len(told) == 1


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("torch.compile is not supported on Python 4"),
        OSError("the cache folder cannot be written"),
        ImportError("a library is missing"),
    ],
)
def test_where_compiling_cannot_even_begin_all_is_as_it_was(network, monkeypatch, error):
    plain, told = gradients(network), []

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(torch, "compile", refuse)
    with compiled(network, Block, told.append):
        assert same(gradients(network), plain)
    assert len(told) == 1


def test_blocks_that_are_run_again_repeat_themselves_where_others_cannot_be_compiled(
    network, monkeypatch
):
    plain, told = gradients(network), []
    asked = failing(monkeypatch, lambda width: width == 8)

    def recomputed():
        last = torch.randn((2, 4), generator=torch.Generator().manual_seed(2))
        network.zero_grad()
        for part in network:
            last = checkpoint(part, last, use_reentrant=False)
        last.square().mean().backward()
        return [weight.grad.clone() for weight in network.parameters()]

    with compiled(network, Block, told.append):
        assert same(recomputed(), plain)
        assert same(recomputed(), plain)
    assert asked == [4, 8, 8]  # each block once
    assert len(told) == 1


@pytest.mark.parametrize(
    ("message", "calls"), [("CUDA out of memory. Tried to allocate.", 1), ("shapes", 2)]
)
def test_what_goes_wrong_in_the_block_itself_is_raised(network, monkeypatch, message, calls):
    """Out of memory at once, so that the batch can be split; the rest after a look without."""
    called = []

    def run(*_):
        called.append(1)
        raise RuntimeError(message)

    monkeypatch.setattr(torch, "compile", lambda plain, **_: plain)
    monkeypatch.setattr(network[0].turn, "forward", run)
    with (
        compiled(network, Block, pytest.fail),
        pytest.raises(RuntimeError, match=message),
    ):
        answer(network)
    assert len(called) == calls
    require_as_it_was(nn.Sequential(*network[1:]))


def learnt(network):
    """The losses of three updates."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)
    losses = []
    for _ in range(3):
        loss = answer(network).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.slow
def test_what_torch_compiles_learns_the_same_but_for_rounding(network):
    torch.compiler.reset()
    one = network[:1]
    plain = learnt(copy.deepcopy(one))
    again = copy.deepcopy(one)
    with compiled(one, Block, pytest.fail):
        found = learnt(one)
    assert found == pytest.approx(plain, rel=1e-4)
    with compiled(again, Block, pytest.fail):
        assert learnt(again) == found


def test_torch_without_a_compiler_is_said_once(network):
    from torch._inductor import config

    torch.compiler.reset()
    plain, told = gradients(network), []
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), compiled(network, Block, told.append):
        assert same(gradients(network), plain)
    assert len(told) == 1


def test_a_run_and_its_quote_are_compiled_where_asked_for_and_only_as_a_whole(
    job, toy, monkeypatch
):
    asked, told = [], []
    monkeypatch.setattr(toy, "compiled", lambda notice: asked.append(notice) or toy.recomputing())
    stop_after(job(), 2)
    assert asked == []
    with pytest.raises(SettingsError, match="compile: False -> True"):
        job(compile="true")
    compiled_run = job("other", compile="true")
    quote(compiled_run)
    assert len(asked) == 1
    asked[0]("not said: it would be said twice")
    finish(compiled_run, notice=told.append)
    assert len(asked) == 2
    asked[1]("said")
    assert told == ["said"]
