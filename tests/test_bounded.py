"""Files of any origin are read up to a size and a depth, and what is beyond has one error."""

import json

import pytest

from rarebooth import bounded
from rarebooth.bounded import DEEPEST, UnreadableError, parsed, read_json, read_text


def test_a_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b'{"a":\r\n 1}')
    assert read_text(path, 10) == '{"a":\n 1}'
    assert read_json(path, 10) == {"a": 1}
    with pytest.raises(UnreadableError, match="larger than the"):
        read_text(path, 9)
    path.write_bytes(b"\xff")
    with pytest.raises(UnreadableError, match="utf-8"):
        read_text(path)


def test_no_more_than_the_limit_is_ever_in_memory(tmp_path):
    path = tmp_path / "hole"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UnreadableError, match="16 MiB"):
        read_text(path)


@pytest.mark.parametrize("levels", [DEEPEST + 1, 100_000])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
def test_nesting_has_a_limit(levels, left, right):
    assert parsed(left * DEEPEST + "1" + right * DEEPEST)
    with pytest.raises(UnreadableError, match=f"more than {DEEPEST} lists and objects"):
        parsed(left * levels + "1" + right * levels)


def test_there_is_a_limit_to_how_many_lists_are_made():
    with pytest.raises(UnreadableError, match="holds more than 131072"):
        parsed("[" + "[]," * 2**17 + "[]]")


@pytest.mark.parametrize("text", ["", "{", "[1,]", "9" * 5000])
def test_what_is_no_json_is_said(text):
    with pytest.raises(UnreadableError):
        parsed(text)


def test_every_object_can_be_looked_at():
    seen = []
    assert parsed('{"a": [{"b": 1, "b": 2}]}', lambda pairs: seen.append(pairs) or dict(pairs)) == {
        "a": [{"b": 2}]
    }
    assert seen[0] == [("b", 1), ("b", 2)]
    assert json.dumps(bounded.parsed("[null, true]")) == "[null, true]"
