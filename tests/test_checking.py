"""What files of unknown origin are told to be, and that none of them is believed or run."""

import bz2
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file

from rarebooth import artifact, exporting
from rarebooth.artifact import Header
from rarebooth.base import Identity
from rarebooth.checking import Report, check
from rarebooth.cli import run
from rarebooth.cli.console import notice, say_error
from rarebooth.delta import Change, Delta, LowRank
from rarebooth.errors import ArtifactError, BaseModelError, RareboothError

ELSEWHERE = Identity("sd15", "stable-diffusion", "e" * 64)
PICKLED = "holds a pickle, which can run code; rarebooth never opens one"


def numbers(*shape, dtype=torch.float32):
    return torch.ones(shape, dtype=dtype)


def raw(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file by hand; ``header`` is JSON, or bytes as they are."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def entry(start=0, end=8, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


@pytest.fixture
def put(tmp_path) -> Callable[[bytes], Path]:
    def write(content: bytes, name: str = "a file") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def subject(tmp_path):
    def write(identity=ELSEWHERE, weights=None):
        header = Header(identity, "two-stage", {}, 3, ("dog",), "a photo of {}", 32, "400")
        path = tmp_path / "subject.safetensors"
        delta = Delta(("(rare) dog",), {"(rare)": numbers(2, 32)}, weights or {})
        artifact.save(path, delta, header)
        return path

    return write


def test_a_subject_tells_what_it_is(subject):
    change = Change.between(numbers(3, 2), torch.zeros(3, 2))
    low = LowRank(numbers(4, 1), numbers(1, 5))
    path = subject(weights={"denoiser.a": change, "text.b": low})
    report = check(path.rename(path.with_name("image.png")))
    assert report == Report(
        "rarebooth subject",
        True,
        {
            "size": path.with_name("image.png").stat().st_size,
            "tensors": 5,
            "finite": True,
            "method": "two-stage",
            "base": "sd15",
            "base digest": "e" * 64,
            "nouns": ["dog"],
            "phrases": ["(rare) dog"],
            "checkpoint": "400",
            "picture size": 32,
            "seed": 3,
            "format": artifact.FORMAT,
        },
        (),
    )


def test_a_subject_is_held_against_a_base(subject, tiny_base, tiny_folder):
    folder = str(tiny_folder())
    assert check(subject(tiny_base().identity), folder).facts["fits"] is True
    report = check(subject(ELSEWHERE), folder)
    assert (report.safe, report.facts["fits"]) == (True, False)
    assert "trained on the base 'sd15' (eeeeeeeeeeee)" in report.problems[0]


@pytest.mark.parametrize(
    ("word", "weights", "told"),
    [
        (numbers(1, 33), {}, r"word '(rare)' has shape (1, 33), and a prompt of the base"),
        (numbers(1, 32), {"denoiser.absent": LowRank(numbers(4, 1), numbers(1, 5))}, "not have"),
    ],
)
def test_a_subject_that_its_base_cannot_draw_does_not_fit(
    tmp_path, tiny_base, tiny_folder, word, weights, told
):
    header = Header(tiny_base().identity, "two-stage", {}, 3, ("dog",), "a {}", 32, "400")
    path = tmp_path / "subject.safetensors"
    artifact.save(path, Delta(("(rare) dog",), {"(rare)": word}, weights), header)
    report = check(path, str(tiny_folder()))
    assert report.facts["fits"] is False
    assert told in report.problems[0]


def test_no_base_is_fetched_for_a_check(subject):
    with pytest.raises(BaseModelError, match="A check downloads nothing"):
        check(subject(), "somebody/a-model")


def test_a_subject_that_cannot_be_drawn_is_not_safe(put):
    tensors = {"token/(rare)": numbers(1, 4), "up/x": numbers(2, 1)}
    report = check(put(save(tensors, {"rarebooth": json.dumps({"format": 99})})))
    assert (report.kind, report.safe) == ("rarebooth subject", False)
    assert "has subject format 99" in report.problems[0]


@pytest.mark.parametrize(
    ("tensors", "kind", "facts"),
    [
        (
            {"<cat>": numbers(2, 768)},
            "textual-inversion embedding",
            {"word": "<cat>", "vectors": 2, "trained for": "Stable Diffusion 1"},
        ),
        (
            {"emb_params": numbers(1024)},
            "textual-inversion embedding",
            {"vectors": 1, "trained for": "Stable Diffusion 2"},
        ),
        (
            {"clip_l": numbers(3, 768), "clip_g": numbers(3, 1280)},
            "textual-inversion embedding",
            {"numbers a vector": [768, 1280], "trained for": "Stable Diffusion XL"},
        ),
        (
            {
                "lora_unet_down_blocks_0_attn1_to_q.lora_down.weight": numbers(4, 8),
                "lora_unet_down_blocks_0_attn1_to_q.lora_up.weight": numbers(8, 4),
                "lora_unet_down_blocks_0_attn1_to_q.alpha": numbers(),
                "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": numbers(2, 8),
                "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": numbers(8, 2),
                "bundle_emb.cat.string_to_param.*": numbers(1, 768),
            },
            "LoRA",
            {
                "flavour": "kohya",
                "rank": [2, 4],
                "changes": ["U-Net", "text encoder", "embeddings"],
            },
        ),
        (
            {
                "unet.down_blocks.0.attn1.to_q.lora_A.weight": numbers(4, 8),
                "unet.down_blocks.0.attn1.to_q.lora_B.weight": numbers(8, 4),
            },
            "LoRA",
            {"flavour": "PEFT", "rank": [4], "changes": ["U-Net"]},
        ),
        (
            {
                "unet.down_blocks.0.attn1.processor.to_q_lora.down.weight": numbers(4, 8),
                "unet.down_blocks.0.attn1.processor.to_q_lora.up.weight": numbers(8, 4),
                "text_encoder.a.q_proj.lora_linear_layer.down.weight": numbers(4, 8),
                "text_encoder.a.q_proj.lora_linear_layer.up.weight": numbers(8, 4),
                "text_encoder.a.q_proj.alpha": numbers(),
            },
            "LoRA",
            {"flavour": "diffusers", "rank": [4], "changes": ["U-Net", "text encoder"]},
        ),
        (
            {
                "lora_unet_mid_block_to_k.hada_w1_a": numbers(8, 2),
                "lora_unet_mid_block_to_k.hada_w1_b": numbers(2, 8),
                "lora_unet_mid_block_to_k.alpha": numbers(),
                "lora_unet_mid_block_to_v.diff": numbers(8, 8),
            },
            "LoRA",
            {"flavour": "LyCORIS", "changes": ["U-Net"]},
        ),
        (
            {"mid.attn2.processor.to_k_custom_diffusion.weight": numbers(8, 8)},
            "Custom Diffusion weights",
            {"layers": 1},
        ),
        (
            {
                "model.diffusion_model.out.2.bias": numbers(4),
                "cond_stage_model.model.ln_final.bias": numbers(4),
                "first_stage_model.quant_conv.bias": numbers(4),
            },
            "whole checkpoint",
            {"family": "Stable Diffusion 2"},
        ),
        ({"mid_block.x.weight": numbers(1)}, "part of a model", {"part": "U-Net"}),
    ],
)
def test_files_of_other_programs_are_recognised(put, tensors, kind, facts):
    report = check(put(save(tensors)))
    assert (report.kind, report.safe, report.problems) == (kind, True, ())
    expected = {**facts, "tensors": len(tensors), "finite": True}
    assert {key: report.facts.get(key) for key in expected} == expected


def test_what_a_file_was_trained_for_is_told(put):
    content = save({"x.lora_A.weight": numbers(1, 2)}, {"ss_base_model_version": "sd_v1"})
    assert check(put(content)).facts["trained for"] == "sd_v1"


def test_tensors_beside_those_of_a_lora_are_named(put):
    report = check(put(save({"x.lora_A.weight": numbers(1, 2), "surprise": numbers(1)})))
    assert report.safe
    assert "'surprise'" in report.problems[0]


def test_our_own_exports_are_recognised(subject, tiny_base, tiny_folder, tmp_path):
    base = tiny_base()
    (name,) = base.cross_attention()[:1]
    before = base.original("denoiser")(name)
    change = {f"denoiser.{name}": Change.between(before + 0.1, before)}
    path = subject(base.identity, change)

    def export(to):
        made = exporting.export(path, to, tmp_path / to, base=str(tiny_folder()))
        return check(made.folder)

    embedding = export("embedding")
    assert embedding.safe
    assert embedding.facts["files"] == {"rare-dog.safetensors": "textual-inversion embedding"}
    assert export("low-rank").facts["files"] == {"subject.safetensors": "rarebooth subject"}
    whole = export("diffusers")
    assert (whole.kind, whole.safe, whole.problems) == ("diffusers folder", True, ())
    assert whole.facts["pipeline"] == "StableDiffusionPipeline"
    assert set(whole.facts["files"].values()) == {"part of a model"}


# What would leave a file behind if it were run: as protocol 0, 2 and 4, and as a class's state.
def gadgets(canary: Path) -> dict[str, bytes]:
    command = f"touch {canary}".encode()
    text = b"cposix\nsystem\n(S'" + command + b"'\ntR."
    size = len(command).to_bytes(4, "little")
    short = b"\x8c\x05posix\x8c\x06system\x93X" + size + command + b"\x85R."
    return {
        "protocol 0": text,
        "protocol 0 without an end": text[:-1],
        "protocol 0 with more behind it": text + b"\0" * 99,
        "INST": b"(S'" + command + b"'\niposix\nsystem\n.",
        "protocol 2": b"\x80\x02" + text,
        "protocol 4": b"\x80\x04" + short,
        "protocol 4 without its mark": short,
        "BUILD": b"cposix\nsystem\nN\x85b.",
        "an odd text before it": b"S'\\/'\n0" + text,
        "no call at all": b"(lp0\nI1\na.",
        "a number that pickletools cannot read before it": b"I0x1\n0L0o7L\n0" + text,
    }


def zipped(content: bytes, name: str, method: int = zipfile.ZIP_STORED) -> bytes:
    with io.BytesIO() as memory:
        with zipfile.ZipFile(memory, "w", method) as archive:
            archive.writestr("readme", "harmless")
            archive.writestr(name, content)
        return memory.getvalue()


def tarred(content: bytes, name: str) -> bytes:
    with io.BytesIO() as memory:
        with tarfile.open(fileobj=memory, mode="w") as archive:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        return memory.getvalue()


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "alone": lambda content: content,
    "torch's zip": lambda content: zipped(content, "archive/data.pkl"),
    "a zip under another name": lambda content: zipped(content, "x", zipfile.ZIP_DEFLATED),
    "half a zip": lambda content: zipped(content, "archive/data.pkl")[:-30],
    "a zip behind something": lambda content: b"GIF89a" + zipped(content, "x"),
    "tar": lambda content: tarred(content, "x"),
    "torch's tar": lambda content: tarred(content, "pickle"),
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
}
NAMES = ("x.safetensors", "x.SafeTensors", "x.bin", "x.pt", "x.ckpt", "x.png", "x")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_pickle_is_found_in_every_disguise_and_never_run(put, tmp_path, wrapping):
    canary = tmp_path / "canary"
    for number, (kind, content) in enumerate(gadgets(canary).items()):
        path = put(WRAPPINGS[wrapping](content), NAMES[number % len(NAMES)])
        report = check(path)
        assert (report.kind, report.safe) == ("pickle", False), kind
        assert PICKLED in report.problems[0]
    assert not canary.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_what_torch_and_numpy_write_is_told(tmp_path, legacy):
    path = tmp_path / "x.safetensors"
    torch.save({"a": numbers(3)}, path, _use_new_zipfile_serialization=not legacy)
    assert check(path).kind == "pickle"
    objects = np.array([{"a": 1}], dtype=object)
    mixed = np.zeros(1, dtype=[("a", "O"), ("b", "f4")])
    for array in (objects, mixed):
        np.save(tmp_path / "x.npy", array)
        assert check(tmp_path / "x.npy").kind == "pickle"
    np.savez(tmp_path / "x.npz", objects)
    assert check(tmp_path / "x.npz").kind == "pickle"
    np.save(tmp_path / "x.npy", np.frombuffer(b"{'O': '|O'}", np.uint8))
    assert check(tmp_path / "x.npy").kind == "unknown"
    np.savez(tmp_path / "x.npz", np.zeros(3))
    assert check(tmp_path / "x.npz").kind == "archive"


def test_a_file_that_is_both_is_a_pickle(put):
    # As a length this is 4.6 MB; as operations, a number of eight bytes and then a program.
    program = b"cposix\nsystem\n(S'true'\ntR."
    content = b"\x80\x02G\x00\x00\x00\x00\x00{" + b'"' + b"0" + program
    report = check(put(content + b" " * 5_000_000))
    assert (report.kind, report.safe) == ("pickle", False)


@pytest.mark.parametrize("count", [128, 384, 0x280, 0x580])
def test_a_header_whose_length_begins_like_a_pickle_is_none(put, count):
    header = json.dumps({"cat": entry()}).encode()
    report = check(put(raw(header.ljust(count), b"\0" * 8)))
    assert (report.kind, report.safe) == ("textual-inversion embedding", True)


TWO = {"a": entry(), "b": entry(8, 16)}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (raw(TWO, b"\0" * 16, length=10**6), "said to be 1000000 bytes long, and it has"),
        (raw(TWO, b"\0" * 16, length=10**9), "100000000 are the most"),
        (raw(b'{"a": '), "its header is not JSON"),
        (raw(b'{"a": NaN}'), "NaN stands in it"),
        (raw(b'{"a\xff": 1}'), "its header is not JSON"),
        (raw(b'{"a":' * 9999), "its header is not JSON"),
        (raw(b'{"a": ' + b"9" * 5000 + b"}"), "its header is not JSON"),
        (raw({"a": entry(), "b": entry(4, 12)}, b"\0" * 12), "'b' overlaps"),
        (raw({"a": entry(), "b": entry(9, 17)}, b"\0" * 17), "the bytes before 'b'"),
        (raw(TWO, b"\0" * 9), "its tensors take 16 bytes, and 9 are there"),
        (raw(TWO, b"\0" * 19), "3 bytes follow its last tensor"),
        (raw({"a": entry(8, 0)}, b"\0" * 8), "to take the bytes from 8 to 0"),
        (raw({"a": entry(-8, 0)}), "no whole numbers"),
        (raw({"a": entry(0, True, ())}, b"\0"), "no whole numbers"),
        (raw({"a": entry(shape=(3,))}, b"\0" * 8), "'a' is said to be F32 (3,)"),
        (raw({"a": entry(shape=(2**62, 4, 0))}), "absurd shape"),
        (raw({"a": entry(dtype="F99")}, b"\0" * 8), "unknown type 'F99'"),
        (raw({"a": [1, 2]}), "'a' is described without type"),
        (raw({"__metadata__": {"a": 1}}), "something other than texts"),
    ],
)
def test_damage_is_said_in_words(put, content, reason):
    path = put(content)
    report = check(path)
    assert (report.kind, report.safe) == ("damaged safetensors file", False)
    assert reason in report.problems[0]
    with pytest.raises(SafetensorError):  # it refuses them too, in fewer words
        safe_open(path, framework="np")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (raw(b'{"a": {}, "a": {}}'), "its header says 'a' twice"),
        (raw({"a": entry(0, 4, [1] * 65)}, b"\0" * 4), "absurd shape"),
        (raw({"a" * 5000: entry()}, b"\0" * 8), "name in it has 5000 characters"),
    ],
)
def test_what_safetensors_itself_lets_pass_is_refused_too(put, content, reason):
    assert reason in check(put(content)).problems[0]


def test_a_large_header_is_refused_before_it_is_read(put):
    path = put(raw(b"{", length=10**9))
    os.truncate(path, 2 * 10**9)  # a hole: takes no disk
    assert "100000000 are the most" in check(path).problems[0]


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.float8_e5m2,
        torch.float8_e4m3fn,
    ],
)
def test_numbers_that_are_not_finite_are_found(put, dtype):
    bad = [float("nan")] if dtype == torch.float8_e4m3fn else [float("nan"), float("-inf")]
    sound = torch.tensor([[0.0, -1.5, torch.finfo(dtype).max]], dtype=torch.float64).to(dtype)
    assert check(put(save({"x.lora_A.weight": sound}))).safe
    for value in bad:
        spoilt = torch.tensor([[0.0, value, 1.0]]).to(dtype)
        report = check(put(save({"x.lora_A.weight": spoilt, "y.lora_A.weight": sound})))
        assert (report.safe, report.facts["finite"]) == (False, False)
        assert "not finite stand in 'x.lora_A.weight'." in report.problems[-1]


@pytest.mark.parametrize(
    ("name", "texts", "told"),
    [
        ("x", {"ss_sd_model_name": "/Users/me/models/v1.ckpt"}, "/Users/me/models/v1.ckpt"),
        ("x", {"args": '{"dir": "C:\\\\Users\\\\me"}'}, "C:"),
        ("x", {"log": "saved to ~/models/a b.bin"}, "~/models/a b.bin"),
        ("/etc/passwd", {}, "/etc/passwd"),
        ("../../x", {}, "../../x"),
        ("x", {"modelspec.implementation": "https://github.com/a/b and/or c"}, None),
        ("x", {"modelspec.thumbnail": "data:image/jpeg;base64,/9j/4AAQ"}, None),
        ("x", {"modelspec.date": "2024/05/06", "hash": "0a+/bc/de="}, None),
    ],
)
def test_paths_on_somebodys_disk_are_pointed_out(put, name, texts, told):
    report = check(put(save({f"{name}.lora_A.weight": numbers(1, 2)}, texts)))
    assert report.safe
    assert len(report.problems) == (told is not None)
    assert told is None or told in report.problems[0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"{}",
        b'{"unet":{"a": 1}}',
        b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
        b"\xff\xd8\xff\xe0",
        b"cat\ndog\nbird\nCopyright, all rights reserved.",
        b"it is a text\nof lines\n.",
        b"\0" * 4096,
        save({"weights": numbers(2, 3, 4)}),
    ],
)
def test_what_is_unknown_is_said_to_be(put, content):
    report = check(put(content, "x.safetensors"))
    assert (report.kind, report.safe) == ("unknown", False)
    assert report.problems


@pytest.fixture
def folder(tmp_path) -> Path:
    from tiny import build_folder

    return build_folder(tmp_path / "model")


def test_pickles_in_a_model_folder_are_named(folder):
    assert check(folder).safe
    torch.save({"a": numbers(1)}, folder / "unet" / "diffusion_pytorch_model.bin")
    (folder / "vae" / "old.txt").write_bytes(b"\x80\x04N.")
    report = check(folder)
    assert not report.safe
    assert [problem.partition(":")[0] for problem in report.problems] == [
        "unet/diffusion_pytorch_model.bin",
        "vae/old.txt",
    ]
    assert all(PICKLED in problem for problem in report.problems)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"unet": ["my_unet", "UNet"]}, "names ['my_unet', 'UNet'] for 'unet'"),
        ({"vae": ["diffusers", "os.system"]}, "names ['diffusers', 'os.system'] for 'vae'"),
        ({"extra": [1, {}]}, "for 'extra'"),
        ({"_class_name": "StableDiffusionXLPipeline"}, "holds a StableDiffusionXLPipeline"),
        ({"_class_name": ["pipeline", "Mine"]}, "no class that"),
        ({"_class_name": {}}, "holds a {}; rarebooth can train"),
    ],
)
def test_classes_that_no_base_has_are_named(folder, changed, problem):
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changed}), "utf-8")
    report = check(folder)
    assert (report.kind, report.safe) == ("diffusers folder", False)
    assert any(problem in each for each in report.problems)


def test_code_in_a_model_folder_is_named(folder):
    (folder / "unet" / "my_unet.py").write_text("pass", "utf-8")
    config = folder / "text_encoder" / "config.json"
    content = json.loads(config.read_text("utf-8"))
    config.write_text(json.dumps({**content, "auto_map": {"AutoModel": "x.Y"}}), "utf-8")
    report = check(folder)
    assert not report.safe
    (problem,) = report.problems
    assert problem.endswith("may run: 'text_encoder/config.json', 'unet/my_unet.py'.")


@pytest.mark.parametrize(
    "content",
    [
        " " * 70_000 + '{"auto_map": "owner/repo--x.Y"}',
        '{"auto\\u005fmap": "owner/repo--x.Y"}',
        '[[{"deep": {"custom_pipelines": {"a": "b"}}}]]',
        '{"auto_map": "owner/repo--x.Y", "auto_map": null}',
    ],
)
def test_code_that_a_configuration_names_is_found(folder, content):
    (folder / "unet" / "Config.JSON").write_text(content, "utf-8")
    report = check(folder)
    assert not report.safe
    (problem,) = report.problems
    assert problem.endswith("may run: 'unet/Config.JSON'.")


def test_a_word_that_is_a_key_names_no_code(folder):
    (folder / "unet" / "words.json").write_text('{"auto_map_": "x", "auto": "auto_map"}', "utf-8")
    (folder / "notes").write_text("{ no JSON", "utf-8")
    assert check(folder).safe


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b" " * (2**22 + 1), "larger than the 4 MiB"),
        (b"[" * 100_000, "more than 64 lists"),
        (b"[" * 65 + b"]" * 65, "more than 64 lists"),
        (b"{'a': 1}", "Expecting property name"),
        (b"\xff", "utf-8"),
    ],
)
def test_json_that_cannot_be_looked_through_is_not_safe(folder, content, why):
    (folder / "feature_extractor").mkdir()
    (folder / "feature_extractor" / "preprocessor_config.json").write_bytes(content)
    report = check(folder)
    assert not report.safe
    (problem,) = report.problems
    assert problem.startswith("feature_extractor/preprocessor_config.json cannot be looked through")
    assert why in problem


def test_every_index_is_examined(folder):
    inner = folder / "prior" / "Model_Index.json"
    inner.parent.mkdir()
    inner.write_text('{"unet": ["my_unet", "UNet"]}', "utf-8")
    report = check(folder)
    assert not report.safe
    (problem,) = report.problems
    assert problem.startswith("prior/Model_Index.json: model_index.json names ['my_unet', 'UNet']")
    assert not check(inner.parent).safe


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((f"x.{ending}", b"x") for ending in ("pyc", "so", "so.1.2", "pyd", "DLL", "dylib", "sh")),
        ("x.Py ", b"x"),
        ("picture.png", b"\x7fELF\2\1\1"),
        ("readme", b"#!/bin/sh"),
        ("x.bin", b"MZ".ljust(60, b"\0") + (64).to_bytes(4, "little") + b"PE\0\0"),
    ],
)
def test_code_is_known_by_name_or_beginning(folder, name, content):
    (folder / "vae" / name).write_bytes(content)
    report = check(folder)
    assert not report.safe
    said = f"may run: {f'vae/{name}'!r}"
    assert any(said in problem for problem in report.problems)


def test_what_only_looks_like_code_is_none(folder):
    (folder / "MZ.txt").write_text("MZ is what a program of Windows begins with. " * 9, "utf-8")
    (folder / "some.python.txt").write_text("no code", "utf-8")
    assert check(folder).safe


def test_a_model_that_is_not_whole_says_what_it_lacks(folder):
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "model_index.json").rename(folder / "model_index.json.old")
    assert check(folder).kind == "folder"
    (folder / "model_index.json.old").rename(folder / "model_index.json")
    report = check(folder)
    assert not report.safe
    assert "vae/diffusion_pytorch_model.safetensors is missing" in report.problems[0]


def test_a_folder_without_anything_known_is_unknown(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing", "utf-8")
    report = check(tmp_path)
    assert (report.kind, report.safe) == ("unknown", False)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="cannot be read: No such file"):
        check(tmp_path / "nothing")
    with pytest.raises(ArtifactError, match="cannot be read: embedded null"):
        check(tmp_path / "a\0b")


@pytest.mark.parametrize("name", ["unet/model.bin", "model.PT", "a.ckpt"])
def test_what_programs_unpickle_for_its_name_is_not_safe_unless_it_can_be_told(tmp_path, name):
    """A pickle may begin with more than is looked at, and no reader sees through that."""
    save_file({"<cat>": numbers(1, 768)}, tmp_path / "cat.safetensors")
    program = gadgets(tmp_path / "canary")["protocol 0"]
    length = 5 << 20
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"X" + length.to_bytes(4, "little") + b"a" * length + b"0" + program)
    assert check(file).kind == "unknown"
    report = check(tmp_path)
    assert not report.safe
    assert any(problem.startswith(f"{name} is no pickle") for problem in report.problems)
    file.write_bytes(save({"<cat>": numbers(1, 768)}))
    assert not check(tmp_path).safe
    file.write_bytes(b"")
    assert check(tmp_path).safe


def test_links_to_folders_are_told_and_folders_that_cannot_be_read_are_refused(
    tmp_path, monkeypatch
):
    model, hidden = tmp_path / "model", tmp_path / "hidden"
    model.mkdir()
    hidden.mkdir()
    save_file({"<cat>": numbers(1, 768)}, model / "cat.safetensors")
    assert check(model).safe
    (model / "vae").symlink_to(hidden, target_is_directory=True)
    report = check(model)
    assert not report.safe
    assert "It links to folders, which were not looked into: 'vae'." in report.problems
    (model / "vae").unlink()
    (model / "sealed").mkdir()
    scan = os.scandir

    def sealed(path):
        if Path(path).name == "sealed":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", sealed)  # root may read whatever is sealed
    with pytest.raises(ArtifactError, match="cannot be read: Permission denied"):
        check(model)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtifactError, match="neither a file nor a folder"):
        check(tmp_path / "pipe")
    save_file({"<cat>": numbers(1, 768)}, tmp_path / "cat.safetensors")
    assert check(tmp_path).safe  # opening the pipe would never end


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> list[bytes]:
    """Files that are as they should be, or pickles, for damage to be done to."""
    path = tmp_path_factory.mktemp("whole") / "subject.safetensors"
    header = Header(ELSEWHERE, "two-stage", {}, 3, ("dog",), "a photo of {}", 32, "400")
    low = LowRank(numbers(4, 1), numbers(1, 5))
    artifact.save(path, Delta(("(rare) dog",), {"(rare)": numbers(1, 4)}, {"text.b": low}), header)
    pickled = gadgets(path.with_name("canary"))["protocol 0"]
    return [
        path.read_bytes(),
        save({"<cat>": numbers(2, 8)}, {"modelspec.architecture": "x"}),
        save({"x.lora_A.weight": numbers(2, 3), "x.lora_B.weight": numbers(3, 2)}),
        zipped(pickled, "archive/data.pkl"),
        tarred(pickled, "pickle"),
        gzip.compress(pickled),
        pickled,
    ]


def judged(path: Path) -> Report | None:
    """The report; what is called safe can be opened, and no error but ours is raised."""
    try:
        report = check(path)
    except RareboothError:
        return None
    assert report.safe or report.problems
    json.dumps({**report.facts, "problems": report.problems})
    if report.safe:
        with safe_open(path, framework="pt") as file:
            assert len([file.get_tensor(name) for name in file.keys()]) >= 1  # noqa: SIM118
    if report.safe and report.kind == "rarebooth subject":
        artifact.load(path)
    return report


quick = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@quick
@given(content=st.binary(max_size=200), disguise=st.sampled_from([b"", b"\x80\x04", b"PK\3\4"]))
def test_random_bytes_are_never_safe_and_raise_nothing(put, content, disguise):
    report = judged(put(disguise + content))
    assert report is not None
    assert not report.safe


@quick
@given(
    which=st.integers(0, 6),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4),
    ends=st.tuples(st.floats(0, 1), st.binary(max_size=4)),
    cuts=st.booleans(),
)
def test_damage_to_a_whole_file_raises_nothing(put, whole, which, changes, ends, cuts):
    content = bytearray(whole[which])
    for place, byte in changes:
        content[int(place * (len(content) - 1))] = byte
    if cuts:
        content[int(ends[0] * len(content)) :] = ends[1]
    judged(put(bytes(content)))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
described = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "U8", "F4", "C64", "F8_E8M0"]) | values,
        "shape": st.lists(st.integers(0, 5), max_size=3) | values,
        "data_offsets": st.lists(st.integers(0, 64), min_size=2, max_size=2) | values,
    }
)


@quick
@given(
    tensors=st.dictionaries(st.text(max_size=9), described | values, max_size=3),
    texts=st.dictionaries(st.sampled_from(["rarebooth", "a"]), st.text() | values, max_size=2),
    size=st.integers(0, 64),
)
def test_any_header_raises_nothing(put, tensors, texts, size):
    judged(put(raw({**tensors, "__metadata__": texts}, b"\0" * size)))


@quick
@given(content=values | st.dictionaries(st.sampled_from(["_class_name", "unet"]), values))
def test_any_index_raises_nothing(tmp_path, content):
    (tmp_path / "model_index.json").write_text(json.dumps(content), "utf-8")
    assert not check(tmp_path).safe


def test_deep_nesting_raises_nothing(put, tmp_path):
    for depth in (900, 990, 5000, 100_000):
        nested = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
        assert not check(put(raw(nested))).safe
        put(nested, "model_index.json")
        assert not check(tmp_path).safe
        header = nested.decode()
        assert not check(put(save({"token/a": numbers(1, 2)}, {"rarebooth": header}))).safe


@pytest.mark.parametrize(
    "content",
    [
        b"(" * 3_000_000,
        gzip.compress(b"\0" * 50_000_000),
        zipped(b"\0" * 50_000_000, "x", zipfile.ZIP_DEFLATED),
        raw({f"layer.{number}": entry(0, 0, (0,)) for number in range(20_000)}),
        raw({"a" * 900 + str(number): entry(0, 0, (0,)) for number in range(1000)}),
        raw(b'{"a":[' + b"[]," * 5_000_000 + b"[]]}"),
        raw(b'{"a":[' + b"0," * 7_000_000 + b"0]}"),
    ],
    ids=[
        *("operations", "gzip bomb", "zip bomb", "many tensors", "long names"),
        *("many lists", "many numbers"),
    ],
)
def test_what_is_made_to_take_long_does_not(put, content):
    path = put(content)
    start = time.process_time()
    assert not check(path).safe
    assert time.process_time() - start < 2


def test_the_command_says_it_in_lines_and_leaves_with_a_code(put, subject, tiny_folder, capsys):
    cat = put(save({"<cat>": numbers(1, 768)}))
    assert run(["check", str(cat)]) == 0
    printed = capsys.readouterr().out
    lines = dict(line.split(maxsplit=1) for line in printed.splitlines())
    assert lines["is"] == "textual-inversion embedding"
    assert lines["finite"] == "yes"
    assert lines["safe"] == "yes: nothing in it can run code"
    assert run(["check", str(put(b"\x80\x04N.", "x.pt"))]) == 2
    assert PICKLED in capsys.readouterr().out
    assert run(["check", str(cat), "--base", str(tiny_folder())]) == 0
    assert "--base was not looked at" in capsys.readouterr().out
    assert run(["check", str(subject()), "--base", str(tiny_folder())]) == 2
    assert "trained on the base 'sd15'" in capsys.readouterr().out


def test_a_folder_is_listed_file_by_file(tmp_path, capsys):
    save_file({"<cat>": numbers(1, 768)}, tmp_path / "cat.safetensors")
    assert run(["check", str(tmp_path)]) == 0
    assert "cat.safetensors: textual-inversion embedding" in capsys.readouterr().out


def test_json_is_for_programs(put, capsys):
    assert run(["check", str(put(save({"<cat>": numbers(1, 768)}))), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report.keys() == {"kind", "safe", "facts", "problems"}
    assert report["facts"]["word"] == "<cat>"


def test_a_terminal_obeys_nothing_that_stands_in_a_file(put, capsys):
    content = save({"\x1b[31mred\u202e": numbers(1, 768)}, {"ss_base_model_version": "\x1b[2J"})
    assert run(["check", str(put(content))]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\\x1b[31mred\\u202e" in printed


def test_a_terminal_obeys_nothing_that_an_error_or_notice_repeats(capsys):
    say_error("a \x1b]0;title\x07 of\ntwo lines")
    notice("\x1b[2J")
    printed = capsys.readouterr().err
    assert printed == "rarebooth: a \\x1b]0;title\\x07 of\ntwo lines\n\\x1b[2J\n"


def test_other_files_than_subjects_are_checked_without_torch(tmp_path):
    save_file({"<cat>": numbers(1, 768)}, tmp_path / "cat.safetensors")
    script = "import sys; from rarebooth.cli import run; code = run(sys.argv[1:]); "
    script += "sys.exit(code or 9 * ('torch' in sys.modules))"
    asked = [sys.executable, "-c", script, "check", str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
