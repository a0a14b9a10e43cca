"""Tables from records: who counts, which checkpoint, how sure a mean is."""

import json
import random
import re
from dataclasses import asdict, replace
from typing import Any

import pytest

from bench_jobs import PLAN, body, small_plan
from rarebooth.bench.executors import Outcome
from rarebooth.bench.record import Records
from rarebooth.bench.results import averaged, further_of, results, told_of
from rarebooth.bench.running import Benchmark
from rarebooth.bench.tables import markdown, times_markdown
from rarebooth.intervals import estimate, paired

SIX = PLAN.replace('"dog"]', '"dog", "duck_toy", "vase"]')
"""With as many subjects as an interval is shown of."""

LATE = f"{PLAN}[entries.late]\nmethod = 'hiper'\ncheckpoints = [5]\nfixed = 5\n"
"""With an entry that comes last."""


def done(jobs) -> dict[Any, dict[str, Any]]:
    return {job: {"status": "done", "body": body(job)} for job in jobs}


def row(rows, entry, choice):
    return next(each for each in rows if (each.entry, each.choice) == (entry, choice))


def test_an_interval_by_hand():
    # Of five values with one 1, the resampled mean is Bin(5, 1/5) / 5: P(0) = 0.328, P(<= 2) =
    # 0.942, P(<= 3) = 0.993; 2.5 % lie at 0 and 97.5 % at 3 / 5.
    found = estimate([0.0, 0.0, 1.0, 0.0, 0.0])
    assert (found.mean, found.low, found.high, found.count) == (0.2, 0.0, 0.6, 5)
    # With one 0 it is the other way round: P(>= 4 zeros) = 0.007, P(>= 3) = 0.058, P(>= 2) = 0.263,
    # so that 2.5 % lie at 2 / 5 and 9 % would lie at 3 / 5.
    other = estimate([1.0, 1.0, 0.0, 1.0, 1.0])
    assert (other.mean, other.low, other.high) == (0.8, 0.4, 1.0)
    # Of 0 and 1 it is 0 in a quarter of draws and 1 in another.
    two = estimate([0.0, 1.0])
    assert (two.mean, two.low, two.high) == (0.5, 0.0, 1.0)
    one = estimate([0.7])
    assert (one.mean, one.low, one.high, one.count) == (0.7, 0.7, 0.7, 1)


def test_an_interval_is_the_same_each_time_and_narrows_with_subjects():
    dice = random.Random(0)
    values = [dice.gauss(0.5, 0.1) for _ in range(40)]
    found = estimate(values)
    assert found == estimate(values)
    # The normal approximation: 1.96 standard errors to each side.
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.1 / 40**0.5, rel=0.25)
    few = estimate(values[:10])
    assert few.high - few.low > found.high - found.low


def test_a_paired_difference_is_over_shared_subjects():
    ours = {"a": 0.9, "b": 0.5, "c": 0.1}
    theirs = {"d": 0.0, "b": 0.3, "a": 0.7}
    found = paired(ours, theirs)
    assert found is not None
    # Both differ by 0.2, so that no resampling changes the mean, however far apart subjects are.
    assert [found.mean, found.low, found.high] == pytest.approx([0.2, 0.2, 0.2])
    assert found.count == 2
    assert paired(ours, {"d": 1.0}) is None


def test_subjects_count_up_to_the_first_hole(tmp_path):
    plan = small_plan(tmp_path)
    names = [subject.name for subject in plan.subjects]
    assert names == ["backpack", "can", "cat", "dog"]
    records = done(plan.jobs)
    assert results(plan, records).subjects == tuple(names)
    # One seed of one entry of the third subject is missing: the fourth does not count either.
    hole = next(
        job for job in plan.jobs if (job.subject, job.label, job.seed) == ("cat", "ours", 1)
    )
    there = {job: record for job, record in records.items() if job != hole}
    found = results(plan, there)
    assert found.subjects == ("backpack", "can")
    assert row(found.rows, "theirs", "fixed").estimates["dino diverse"].count == 2
    failed = {**records, hole: {"status": "failed", "error": "ResourceError: no memory"}}
    assert results(plan, failed).rows == found.rows
    assert "Failed: cat, ours, 1." in markdown(results(plan, failed))
    assert "2 of 4 subjects: backpack, can." in markdown(found)
    nothing = markdown(results(plan, {}))
    assert nothing == ("0 of 4 subjects are finished with any entry: there is no table yet.\n")


def test_before_a_subject_is_whole_the_entries_that_finished_it_are_told_of(tmp_path):
    plan = small_plan(tmp_path)
    first = plan.jobs_of(plan.subjects[0])
    ours = [job for job in first if job.label == "ours"]
    beside = [job for job in first if job.label == "theirs"]
    found = results(plan, done(ours))
    assert found.subjects == ("backpack",)
    assert found.waiting == tuple(each.label for each in plan.entries if each.label != "ours")
    assert {each.entry for each in found.rows} == {"ours"}
    assert found.differences == ()
    assert "Not told of yet: theirs" in markdown(found)
    assert "theirs" not in times_markdown(told_of(plan, done(ours)), done(ours))
    # A seed short, or failed, is not finished; the whole plan has nobody waiting.
    assert results(plan, done(ours[:1])).subjects == ()
    failed = {**done(ours), beside[0]: {"status": "failed", "error": "ResourceError: no memory"}}
    assert "theirs" in results(plan, failed).waiting
    assert f"Failed: backpack, theirs, {beside[0].seed}." in markdown(results(plan, failed))
    assert results(plan, done(plan.jobs)).waiting == ()


def test_entries_that_are_further_are_told_of_apart(tmp_path):
    plan = small_plan(tmp_path, LATE)

    def ended(counts):
        names = [subject.name for subject in plan.subjects]
        return done([job for job in plan.jobs if names.index(job.subject) < counts[job.label]])

    records = ended({"ours": 4, "theirs": 3, "late": 1})
    assert results(plan, records).subjects == ("backpack",)
    told = further_of(plan, records)
    assert told is not None
    found = averaged(plan, told, records)
    assert found.subjects == ("backpack", "can", "cat")
    assert {each.entry for each in found.rows} == {"ours", "theirs"}
    assert found.waiting == ("late",)
    # Not where one is ahead alone, where it would tell of no more jobs, or where all are there.
    assert further_of(plan, ended({"ours": 2, "theirs": 2, "late": 0})) is None
    assert further_of(plan, ended({"ours": 2, "theirs": 1, "late": 0})) is None
    assert further_of(plan, ended({"ours": 4, "theirs": 1, "late": 1})) is None
    assert further_of(plan, done(plan.jobs)) is None
    assert further_of(plan, {}) is None


def test_what_is_told_apart_is_written_beside_the_tables_while_it_is_so(tmp_path):
    plan = small_plan(tmp_path, LATE)
    benchmark = Benchmark("small", plan, Records(tmp_path / "records", {}))
    last = [job for job in plan.jobs if job.label == "late" and job.subject != "backpack"]
    for job in plan.jobs:
        if job not in last:
            benchmark.records.write(job, Outcome(body=body(job)))
    written = {path.name for path in benchmark.write(tmp_path / "out")}
    assert {"small.md", "small-times.md", "small-further.md"} <= written
    text = (tmp_path / "out" / "small-further.md").read_text("utf-8")
    assert "4 of 4 subjects" in text
    assert "Not told of yet: late" in text
    assert "a machine that is not named, 12 jobs:" in text
    for job in last:
        benchmark.records.write(job, Outcome(body=body(job)))
    assert not any("further" in path.name for path in benchmark.write(tmp_path / "out"))
    assert not (tmp_path / "out" / "small-further.md").exists()


def test_a_checkpoint_that_could_not_be_drawn_is_in_no_mean_and_is_told(tmp_path):
    plan = small_plan(tmp_path)
    records = done(plan.jobs)
    whole = results(plan, records)
    assert "could not be drawn" not in markdown(whole)
    job = next(each for each in plan.jobs if each.label == "theirs")
    lost = records[job]["body"]
    del lost["checkpoints"]["20"]
    lost |= {"undrawn": {"20": "DivergedError: no number"}}
    lost["chosen"]["held-out"] = "10"
    lost["checkpoints"]["10"] = body(replace(job, score="all"))["checkpoints"]["10"]
    for each in (each for each in plan.jobs_of(plan.subjects[0]) if each.label == "ours"):
        records[each]["body"]["chosen"]["held-out"] = "20"
        del records[each]["body"]["checkpoints"]["10"]
        records[each]["body"]["undrawn"] = {"10": "DivergedError: no number"}
    found = results(plan, records)
    assert found.undrawn == (
        "backpack, ours, 0, 10",
        "backpack, ours, 1, 10",
        "backpack, theirs, 0, 20",
    )
    for rows in (found.steps, found.validation):
        expected = whole.steps if rows is found.steps else whole.validation
        assert [(each.entry, each.choice) for each in rows] == [
            (each.entry, each.choice) for each in expected
        ]
    assert row(found.steps, "ours", "10").estimates["dino diverse"].count == 3
    assert row(found.steps, "ours", "20").estimates == row(whole.steps, "ours", "20").estimates
    assert row(found.validation, "theirs", "20").estimates["likeness"].count == 3
    assert found.chosen["theirs"]["10"] >= 1
    assert "left out: backpack, ours, 0, 10; backpack, ours, 1, 10; backp" in markdown(found)


def test_means_are_of_the_checkpoint_that_counts(tmp_path):
    plan = small_plan(tmp_path)
    bodies = {job: body(job) for job in plan.jobs}
    found = results(plan, done(plan.jobs))

    def dino(job, name):
        return bodies[job]["checkpoints"][name]["scores"]["dino"]["diverse"]["value"]

    def mean(label, choose):
        by_subject = [
            [dino(job, choose(job)) for job in plan.jobs_of(subject) if job.label == label]
            for subject in plan.subjects
        ]
        assert {len(each) for each in by_subject} == {2 if label == "ours" else 1}
        return sum(sum(each) / len(each) for each in by_subject) / len(by_subject)

    def estimate(label, choice):
        return row(found.rows, label, choice).estimates["dino diverse"].mean

    for label in ("ours", "theirs"):
        for choice in ("fixed", "held-out"):
            expected = mean(label, lambda job, kind=choice: bodies[job]["chosen"][kind])
            assert estimate(label, choice) == pytest.approx(expected, abs=1e-12)
    best = mean("ours", lambda job: max(map(str, job.checkpoints), key=lambda n: dino(job, n)))
    assert estimate("ours", "oracle") == pytest.approx(best, abs=1e-12)
    assert best > estimate("ours", "fixed")
    # An entry that was not scored everywhere has no oracle.
    assert [(each.entry, each.choice) for each in found.rows] == [
        ("ours", "fixed"),
        ("ours", "held-out"),
        ("ours", "oracle"),
        ("theirs", "fixed"),
        ("theirs", "held-out"),
    ]
    difference = row(found.differences, "ours less theirs", "fixed").estimates["dino diverse"]
    expected = estimate("ours", "fixed") - estimate("theirs", "fixed")
    assert difference.mean == pytest.approx(expected, abs=1e-12)
    assert difference.low < difference.mean < difference.high


def test_the_text_shows_what_was_found_and_is_json_able(tmp_path):
    plan = small_plan(tmp_path, SIX)
    found = results(plan, done(plan.jobs))
    text = markdown(found)
    assert json.loads(json.dumps(asdict(found)))["of"] == 6
    header = next(line for line in text.splitlines() if line.startswith("| entry | checkpoint"))
    assert header == (
        "| entry | checkpoint | CLIP-I, diverse ↑ | DINO, diverse ↑ | CLIP-I, simple ↑ "
        "| DINO, simple ↑ |"
    )
    each = row(found.rows, "ours", "oracle").estimates["dino simple"]
    assert f"| {each.mean:.3f} [{each.low:.3f}, {each.high:.3f}] |" in text
    assert "| ours | oracle (optimistic) |" in text
    assert "| ahead | ours | theirs |" in text
    (ahead, of), (behind, _) = (
        found.ahead["dino diverse"]["ours"]["theirs"],
        (found.ahead["dino diverse"]["theirs"]["ours"]),
    )
    held = {label: found.apart["dino diverse"][label] for label in ("ours", "theirs")}
    assert ahead == sum(held["ours"][name] > held["theirs"][name] for name in held["ours"])
    assert ahead + behind == of == 6
    assert f"| ours | - | {ahead} of 6 |" in text
    assert "class came nearer to the photos ↓" in text
    assert "class moved" not in text
    assert "| ours | fixed: 20 |" in text
    assert "| difference | checkpoint | CLIP-I, properties ↑ |" in text
    assert "| ours less theirs | held-out |" in text
    assert "- dino: embedded/dino, whole pictures" in text
    # Two seeds, 1000 and 1001 pictures; class images cost the U-Net nothing that was recorded.
    assert "| 400 | 0 | - | 1000 |" in text
    assert text.endswith("\n")


@pytest.mark.parametrize("measure", ["placed simple", "following diverse.property", "drift class"])
def test_whatever_is_a_column_has_a_paired_difference(tmp_path, measure):
    """A loss with an interval is told like a gain."""
    plan = small_plan(tmp_path, SIX)
    records = done(plan.jobs)
    metric, of = measure.split()
    for job, record in records.items():
        for about in record["body"]["checkpoints"].values():
            value = 0.25 if job.label == "ours" else 0.5
            about.setdefault("scores", {}).setdefault(metric, {})[of] = {"value": value}
    found = results(plan, records)
    each = row(found.differences, "ours less theirs", "held-out").estimates[measure]
    assert (each.mean, each.low, each.high) == (-0.25, -0.25, -0.25)
    assert "-0.250 [-0.250, -0.250]" in markdown(found)


def test_every_checkpoint_has_a_row_and_the_choice_is_counted(tmp_path):
    plan = small_plan(tmp_path, SIX)
    records = done(plan.jobs)
    for job, record in records.items():
        chosen = str(job.checkpoints[-1 if job.subject == "dog" else 0])
        record["body"]["chosen"]["held-out"] = chosen
        for name in map(str, job.checkpoints if job.label == "ours" else ()):
            for each in record["body"]["checkpoints"][name]["scores"].values():
                each["diverse"] = {"value": int(name) / 100 + (job.subject == "dog") * 0.6}
        record["body"]["checkpoints"][chosen].setdefault("scores", {})
    found = results(plan, records)
    # Theirs is scored at the checkpoints that count alone.
    assert [(each.entry, each.choice) for each in found.steps] == [
        ("ours", "10"),
        ("ours", "20"),
        ("ours", "30"),
    ]
    for name in ("10", "20", "30"):
        of_step = row(found.steps, "ours", name).estimates["dino diverse"].mean
        assert of_step == pytest.approx(int(name) / 100 + 0.1)
    assert found.chosen == {"ours": {"10": 10, "30": 2}, "theirs": {"10": 5, "20": 1}}
    assert row(found.validation, "theirs", "20").estimates["likeness"].mean == pytest.approx(0.2)
    # The harmonic mean of 0.2 and 0.5.
    assert row(found.validation, "ours", "20").estimates["harmonic"].mean == pytest.approx(2 / 7)
    text = markdown(found)
    assert "0.286 [0.286, 0.286] | fixed, 0 of 12 jobs |" in text
    assert "0.375 [0.375, 0.375] | 2 of 12 jobs |" in text


def test_rows_that_no_training_made_stand_beside(tmp_path):
    plan = small_plan(tmp_path)
    records = done(plan.jobs)
    for job, record in records.items():
        numbers = {"dino": {"real": {"value": 0.75}}, "clip_t": {"class.base": {"value": 0.5}}}
        for about in record["body"]["checkpoints"].values() if job.subject != "can" else ():
            for metric, given in numbers.items():
                about.setdefault("scores", {}).setdefault(metric, {}).update(given)
    real, base = results(plan, records).references
    assert (real.entry, real.estimates.keys()) == (
        "photos among themselves",
        {"dino diverse", "dino simple"},
    )
    assert (real.estimates["dino simple"].mean, real.estimates["dino simple"].count) == (0.75, 3)
    assert (base.entry, base.estimates["clip_t class"].mean) == ("the base, untrained", 0.5)


def test_the_base_has_a_row_for_every_way_that_entries_draw(tmp_path):
    plan = small_plan(tmp_path, f"{PLAN}extent = {{ others = 1 }}\n")
    records = done(plan.jobs)
    for job, record in records.items():
        numbers = {"dino": {"real": 0.75}, "clip_t": {"class.base": 0.5 + 0.1 * job.extent.others}}
        for about in record["body"]["checkpoints"].values():
            for metric, given in numbers.items():
                told = {of: {"value": value} for of, value in given.items()}
                about.setdefault("scores", {}).setdefault(metric, {}).update(told)
    found = results(plan, records).references
    assert [each.entry for each in found] == [
        "photos among themselves",
        "the base, untrained, as with ours",
        "the base, untrained, as with theirs",
    ]
    ours, theirs = (each.estimates["clip_t class"].mean for each in found[1:])
    assert (ours, theirs) == (pytest.approx(0.5 + 0.1 * plan.entries[0].extent.others), 0.6)


def test_an_interval_is_not_shown_of_few(tmp_path):
    plan = small_plan(tmp_path)
    text = markdown(results(plan, done(plan.jobs)))
    assert "where they are 5 or more" in text
    assert not re.search(r"\d \[[-+\d]", text)


def test_the_spread_is_over_the_seeds_of_a_subject(tmp_path):
    plan = small_plan(tmp_path)
    records = done(plan.jobs)
    for job, record in records.items():
        far = {"backpack": 0.0, "can": 0.2, "cat": 0.4, "dog": 0.6}[job.subject]
        for about in record["body"]["checkpoints"].values():
            about.setdefault("scores", {})["dino"] = {"simple": {"value": far * (1 + job.seed)}}
    found = results(plan, records)
    assert {each.entry for each in found.spread} == {"ours"}
    # Of a and 2 a it is a / sqrt(2), whatever subjects are apart: (0 + .2 + .4 + .6) / 4 / sqrt(2).
    spread = row(found.spread, "ours", "fixed").estimates["dino simple"].mean
    assert spread == pytest.approx(0.3 / 2**0.5)
    assert "### Standard deviation over a subject's seeds" in markdown(found)


def test_a_checkpoint_is_charged_with_the_samples_up_to_it(tmp_path):
    """Two-stage: a first stage of 100 steps by 4, and 4 a step of the second."""
    text = PLAN.replace(
        "score", "settings = { token_steps = 100, token_batch = 4, batch = 4 }\nscore"
    )
    plan = small_plan(tmp_path, text)
    records = done(plan.jobs)
    for job in (each for each in plan.jobs if each.label == "ours"):
        chosen = "30" if job.subject == "backpack" else "10"
        records[job]["body"]["chosen"]["held-out"] = chosen
    costs = results(plan, records).costs["ours"]
    assert costs["samples_to_fixed"] == 400 + 4 * 20
    assert costs["samples_to_held_out"] == 400 + 4 * (3 * 10 + 30) / 4


@pytest.mark.parametrize(
    ("change", "compared"),
    [
        ("", ["ours less theirs", "ours less left-out"]),
        ('compare_to = "theirs"', ["ours less theirs", "theirs less left-out"]),
        ("leave_one_out = true", ["ours less theirs"]),
    ],
)
def test_an_entry_is_compared_to_the_first_or_to_what_it_names(tmp_path, change, compared):
    entry = "[entries.left-out]\nmethod = 'two-stage'\ncheckpoints = [10]\nfixed = 10\n"
    plan = small_plan(tmp_path, f"{PLAN}{entry}{change}\n")
    found = results(plan, done(plan.jobs))
    assert [each.entry for each in found.differences if each.choice == "fixed"] == compared


def test_the_text_does_not_depend_on_order_or_seconds(tmp_path):
    plan = small_plan(tmp_path)
    records = done(plan.jobs)
    text = markdown(results(plan, records))
    mixed = list(plan.jobs)
    random.Random(0).shuffle(mixed)
    again = json.loads(json.dumps([records[job] for job in mixed]))
    for record in again:
        record["body"]["cost"]["cpu_seconds"]["training"] *= 3
    slower = dict(zip(mixed, again, strict=True))
    assert markdown(results(plan, slower)) == text
    assert times_markdown(plan, slower) != times_markdown(plan, records)
    assert "| ours | 10.0 (80%) | 2.5 (20%) | 12.5 |" in times_markdown(plan, records)
    # What a GPU did is not in the processor's time.
    for record in again:
        record["body"]["cost"] |= {"timed_by": "seconds", "seconds": {"training": 7.0}}
    assert "| ours | 7.0 (100%) | 7.0 |" in times_markdown(plan, slower)


def test_seconds_of_one_machine_are_not_averaged_with_those_of_another(tmp_path):
    plan = small_plan(tmp_path)
    records = done(plan.jobs)
    *others, last = plan.jobs
    for job in others:
        records[job]["body"]["cost"]["device"] = "a slow one"
    records[last]["body"]["cost"] |= {"device": "a fast one", "cpu_seconds": {"training": 1.0}}
    text = times_markdown(plan, records)
    slow, fast = text.split("a fast one, 1 job:")
    assert f"a slow one, {len(others)} jobs:" in slow
    assert "| theirs | 10.0" in slow
    assert "| theirs | 1.0 (100%) | 1.0 |" in fast
    assert "| ours |" not in fast


def test_a_number_of_few_subjects_says_of_how_many(tmp_path):
    plan = small_plan(tmp_path, SIX)
    records = done(plan.jobs)
    for job in plan.jobs[-3:]:
        for checkpoint in records[job]["body"]["checkpoints"].values():
            checkpoint.get("scores", {}).pop("clip_t", None)
    found = results(plan, records)
    each = row(found.rows, "theirs", "fixed").estimates
    assert (each["clip_t diverse"].count, each["dino diverse"].count) == (5, 6)
    assert f"[{each['clip_t diverse'].low:.3f}, {each['clip_t diverse'].high:.3f}] (5) |" in (
        markdown(found)
    )


def test_one_entry_alone_is_compared_to_nothing(tmp_path):
    plan = small_plan(tmp_path, PLAN.split("[entries.theirs]", maxsplit=1)[0])
    found = results(plan, done(plan.jobs))
    assert found.differences == ()
    assert "difference" not in markdown(found)


def test_machines_that_measured_differently_are_both_named(tmp_path):
    plan = small_plan(tmp_path)
    records = done(plan.jobs)
    records[plan.jobs[4]]["body"]["conventions"]["div"] = "lpips alex"
    records[plan.jobs[5]]["body"]["conventions"]["div"] = "lpips is not installed"
    assert "- div: lpips alex / lpips is not installed" in markdown(results(plan, records))
