"""Settings: what wins, what is refused, and that every value says where it is from."""

from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rarebooth.errors import SettingsError
from rarebooth.method import Method, setting
from rarebooth.methods import TABLE, find
from rarebooth.settings import (
    DrawSettings,
    Preset,
    TrainSettings,
    differences,
    from_environment,
    preset_for,
    read_file,
    resolve,
)

NEEDED = {"noun": "dog", "base": "embedded"}
KIND = find("two-stage")


def preset(train=None, methods=None):
    return Preset(
        "trial",
        "a record",
        train or {},
        DrawSettings(),
        DrawSettings(),
        {"two-stage": methods or {}},
    )


def decide(flags=None, environment=None, file=None, given=None) -> Any:
    return resolve(
        KIND, {**NEEDED, **(flags or {})}, environment or {}, file or {}, given or preset()
    )


LAYERS = ("flag", "environment", "file", "preset trial", "default")
VALUES = {
    "lr": {"flag": 0.1, "environment": "0.2", "file": 0.3, "preset trial": 0.4},
    "seed": {"flag": 1, "environment": "2", "file": 3, "preset trial": 4},
}


@pytest.mark.parametrize("key", VALUES)
@pytest.mark.parametrize(
    "present", [set(some) for size in range(5) for some in combinations(LAYERS[:4], size)]
)
def test_the_first_layer_that_says_something_wins(key, present):
    layers = {name: {key: VALUES[key][name]} if name in present else {} for name in LAYERS[:4]}
    place = (
        {"methods": layers["preset trial"]} if key == "lr" else {"train": layers["preset trial"]}
    )
    decided = decide(layers["flag"], layers["environment"], layers["file"], preset(**place))
    winner = next((name for name in LAYERS if name in present), "default")
    default = {"lr": 5e-6, "seed": 0}[key]
    value = getattr(decided.method if key == "lr" else decided.train, key)
    assert value == (float(VALUES[key][winner]) if winner in present else default)
    assert decided.origin.get(key, "default") == winner


def test_a_flag_that_was_not_given_decides_nothing():
    decided = decide({"lr": None, "seed": None}, {"lr": "0.5"})
    assert decided.method.lr == 0.5
    assert decided.train.seed == 0


def test_environment_variables_are_told_by_their_prefix():
    environment = {
        "RAREBOOTH_LR": "1e-4",
        "RAREBOOTH_TOKEN_STEPS": "7",
        "LR": "3",
        "rarebooth_seed": "4",
        "RAREBOOTH_DREAMBENCH": "/data",
        "RAREBOOTH_CLIP_BPE": "/data",
    }
    found = from_environment(environment)
    assert found == {"lr": "1e-4", "token_steps": "7"}
    method = decide(environment=found).method
    assert (method.lr, method.token_steps) == (1e-4, 7)


@pytest.mark.parametrize("layer", ["flags", "environment", "file"])
def test_unknown_keys_are_errors_that_name_the_known_ones(layer):
    with pytest.raises(SettingsError) as caught:
        decide(**{layer: {"leaning_rate": 1}})
    message = str(caught.value)
    assert "'leaning_rate'" in message
    assert layer.removesuffix("s") in message
    for known in [*(item.name for item in fields(TrainSettings)), *(i.name for i in fields(KIND))]:
        assert known in message
    assert caught.value.exit_code == 2


def test_a_preset_is_held_to_the_same_keys():
    with pytest.raises(SettingsError, match="'stepz'"):
        decide(given=preset(methods={"stepz": 1}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", "fast"),
        ("steps", 1.5),
        ("steps", "many"),
        ("seed", []),
        ("precision", "fp16"),
        ("previews", "some"),
        ("resolution", "large"),
    ],
)
def test_values_of_another_kind_are_refused_by_key_origin_and_value(key, value):
    with pytest.raises(SettingsError) as caught:
        decide(file={key: value})
    assert str(caught.value).startswith(f"{key} (file) is {value!r}: ")


@pytest.mark.parametrize("key", ["steps", "lr", "clip", "token_steps"])
def test_values_out_of_range_are_refused(key):
    with pytest.raises(SettingsError, match=f"{key} is -1"):
        decide({key: -1})


@pytest.mark.parametrize("missing", ["noun", "base"])
def test_what_has_no_default_must_be_given(missing):
    given = {key: value for key, value in NEEDED.items() if key != missing}
    with pytest.raises(SettingsError, match=f"--{missing} is missing"):
        resolve(KIND, given, {}, {}, preset())


@pytest.mark.parametrize("key", ["checkpoint_every", "save_state_every"])
def test_a_cadence_is_refused_if_it_would_never_come_and_was_asked_for(key):
    for layer in ("flags", "environment", "file"):
        with pytest.raises(SettingsError, match=rf"{key} is 11, longer than the run of 10 steps"):
            decide(**{layer: {key: 11, "steps": 10, "token_steps": 10}})
        assert getattr(decide(**{layer: {key: 10, "steps": 10}}).train, key) == 10
    # A default or a preset is not what the user asked for: the last step is written anyway.
    assert decide({"steps": 10}).train.checkpoint_every == 200
    assert decide({"steps": 10}, given=preset(train={key: 50})).method.steps == 10
    for none in (0, -5):
        with pytest.raises(SettingsError, match=f"{key} is {none}; it must be at least 1"):
            decide({key: none})


def test_states_are_due_in_the_longest_stage_too():
    given = {"steps": 400, "token_steps": 1000, "save_state_every": 500}
    assert decide(given).train.save_state_every == 500
    with pytest.raises(SettingsError, match="1001, longer than its longest stage of 1000 steps"):
        decide({**given, "save_state_every": 1001})
    with pytest.raises(SettingsError, match="checkpoint_every is 500, longer than the run of 400"):
        decide({**given, "checkpoint_every": 500})


def test_states_that_would_only_be_due_at_the_end_are_refused():
    given = {"save_state_every": 10, "steps": 10}
    for method, flags in {"dreambooth": {}, "two-stage": {"token_steps": 9}}.items():
        with pytest.raises(SettingsError, match=r"ends with step 10.*at most 9"):
            resolve(find(method), {**NEEDED, **given, **flags}, {}, {}, preset())
    longer = {**NEEDED, **given, "token_steps": 10}
    assert resolve(find("two-stage"), longer, {}, {}, preset()).train.save_state_every == 10


@pytest.mark.parametrize("other", [{"accumulate": 2}, {"split_batches": True}])
def test_low_memory_is_for_whole_batches(other):
    assert decide({"low_memory": True, "accumulate": 1}).train.low_memory
    assert decide(other)
    (key,) = other
    with pytest.raises(SettingsError, match=rf"^low_memory .*{key}.* (--low-memory|one out)\.$"):
        decide({"low_memory": True, **other})


def test_a_resolution_is_a_number_of_pixels():
    assert decide({"resolution": 64}).train.resolution == 64
    with pytest.raises(SettingsError, match="resolution is 0"):
        decide({"resolution": 0})


@pytest.mark.parametrize("name", TABLE)
def test_every_setting_can_be_given_as_text(name):
    """Environment variables are text: each default, written out, reads back as itself."""
    kind = find(name)
    given = {item.name: str(item.default) for item in fields(kind)}
    decided = resolve(kind, NEEDED, given, {}, preset())
    assert decided.method == kind()


def test_names_of_runs_and_methods_do_not_meet():
    for name in TABLE:
        method = {item.name for item in fields(find(name))}
        assert not method & {item.name for item in fields(TrainSettings)}


def test_every_setting_of_a_method_has_a_range_or_is_words():
    for name in TABLE:
        for item in fields(find(name)):
            ranged = {item.metadata["least"], item.metadata["above"]} != {None}
            assert ranged == (not isinstance(item.default, str | bool)), item.name


@pytest.mark.parametrize("base", ["embedded", "sd21", "someone/model"])
@pytest.mark.parametrize("name", TABLE)
def test_presets_hold_only_sound_settings_and_say_where_they_are_from(base, name):
    found = preset_for(base)
    assert found.source
    assert found.name == ("embedded" if base == "embedded" else "default")
    decided = resolve(find(name), NEEDED, {}, {}, found)
    for key, value in found.methods.get(name, {}).items():
        assert getattr(decided.method, key) == value
        assert decided.origin[key] == f"preset {found.name}"
    assert set(found.methods) <= set(TABLE)
    assert found.draw.sampler in {"ddim", "dpm++"}


def test_other_bases_use_the_papers_values():
    assert preset_for("sd21").draw == DrawSettings()
    assert preset_for("sd21").preview == DrawSettings(sampler="dpm++", sampler_steps=20)
    assert decide(given=preset_for("sd21")).method == KIND()


def test_a_settings_file_is_toml(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('lr = 1e-5\nnoun = "dog"\n')
    assert read_file(path) == {"lr": 1e-5, "noun": "dog"}
    path.write_text("lr = ")
    with pytest.raises(SettingsError, match=r"settings\.toml cannot be read"):
        read_file(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_file(path)
    path.write_text("a = " + "[" * 9999)
    with pytest.raises(SettingsError, match="nested too deeply"):
        read_file(path)
    path.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(SettingsError, match="larger than the 1 MiB"):
        read_file(path)
    with pytest.raises(SettingsError, match="no settings file"):
        read_file(tmp_path / "absent.toml")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_file(tmp_path)


def test_the_record_holds_every_setting():
    record = decide({"lr": 0.1}).as_record()
    run = {item.name for item in fields(TrainSettings)}
    assert record.keys() == run | {"method_settings"}
    assert record["method_settings"].keys() == {item.name for item in fields(KIND)}
    assert record["method_settings"]["lr"] == 0.1


def test_differences_name_each_setting_and_both_values():
    before, now = (decide(flags).as_record() for flags in ({}, {"lr": 0.1, "seed": 3}))
    assert differences(before, before) == []
    assert differences(before, now) == ["seed: 0 -> 3", "lr: 5e-06 -> 0.1"]
    assert before["method_settings"], "the records stay as they were"


@dataclass(frozen=True, kw_only=True)
class Bounded(Method):
    """A method with one setting of each kind of range."""

    least: int = setting(1, "At least one.", source="a test", least=1)
    above: float = setting(1.0, "Above zero.", source="a test", above=0)

    def fit(self, session, subjects, run):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"least": 0}, "least is 0; it must be at least 1"),
        ({"above": 0.0}, "above is 0.0; it must be greater than 0"),
        ({"above": float("nan")}, "above is nan; it must be a finite number"),
        ({"above": float("inf")}, "above is inf; it must be a finite number"),
    ],
)
def test_ranges(given, message):
    Bounded(least=1, above=1e-9).check()
    with pytest.raises(SettingsError, match=message):
        Bounded(**given).check()


ANY_NAME = st.sampled_from(sorted({*(item.name for item in fields(TrainSettings)), "lr", "steps"}))
ANY_VALUE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["cpu", "fp32", "sheet", "held-out", "1", "1e-3", "true", "nan"])
    | st.lists(st.integers(), max_size=2)
)
ANY_LAYER = st.dictionaries(ANY_NAME | st.text(max_size=6), ANY_VALUE, max_size=4)


@given(flags=ANY_LAYER, environment=ANY_LAYER, file=ANY_LAYER)
def test_any_settings_are_decided_by_rank_or_refused(flags, environment, file):
    flags = {"noun": "dog", "base": "x", **flags}
    try:
        found = resolve(KIND, flags, environment, file, preset_for("x"))
    except SettingsError:
        return
    layers = {"flag": flags, "environment": environment, "file": file}
    for name, origin in found.origin.items():
        if origin not in layers:
            continue
        first = next(rank for rank, layer in layers.items() if layer.get(name) is not None)
        assert origin == first
