"""The picture of every subject by every entry."""

from xml.etree import ElementTree as ET

from bench_jobs import body, small_plan
from rarebooth.bench.executors import Outcome
from rarebooth.bench.heatmap import COLD, WARM, Panel, heatmap
from rarebooth.bench.record import Records
from rarebooth.bench.running import Benchmark

SVG = "{http://www.w3.org/2000/svg}"


def drawn(subjects, panels):
    root = ET.fromstring(heatmap(subjects, panels))
    texts = [each.text for each in root.iter(f"{SVG}text")]
    fills = [each.get("fill") for each in root.iter(f"{SVG}rect")][1:]
    return texts, fills


def test_darkest_is_largest_and_what_is_missing_has_no_cell():
    panels = [Panel("DINO <", {"ours & theirs": {"a": 0.5, "b": 1.0}, "other": {"a": 0.75}})]
    texts, fills = drawn(["a", "b"], panels)
    assert texts == [
        *("a", "b"),
        "DINO <",
        *("ours & theirs", "0.500", "1.000"),
        *("other", "0.750"),
    ]
    middle = [round((cold + warm) / 2) for cold, warm in zip(COLD, WARM, strict=True)]
    assert [fills[0], fills[1]] == [f"rgb({','.join(map(str, each))})" for each in (COLD, WARM)]
    assert fills[2] == f"rgb({','.join(map(str, middle))})"


def test_where_all_are_alike_none_stands_out():
    _, fills = drawn(["a", "b"], [Panel("x", {"ours": {"a": 0.5, "b": 0.5}})])
    assert len(set(fills)) == 1


def test_a_benchmark_draws_its_subjects(tmp_path):
    plan = small_plan(tmp_path)
    benchmark = Benchmark("small", plan, Records(tmp_path / "records", {}))
    assert benchmark.heatmap(tmp_path, benchmark.results()) is None
    for job in plan.jobs:
        benchmark.records.write(job, Outcome(body=body(job)))
    found = benchmark.heatmap(tmp_path, benchmark.results())
    assert found is not None
    found.write()
    texts = [each.text for each in ET.parse(tmp_path / "small-subjects.svg").iter(f"{SVG}text")]
    assert {"backpack", "can", "cat", "dog", "ours", "theirs", "DINO, diverse"} <= {*texts}
    assert len(texts) == 4 + 2 * (1 + 2 * (1 + 4))
