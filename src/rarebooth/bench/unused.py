"""Settings of a plan's entries that do nothing where the others are as they are."""

from collections.abc import Iterator
from pathlib import Path

from rarebooth.bench.plan import read_plan
from rarebooth.effects import idle
from rarebooth.methods import find
from rarebooth.settings import preset_for, read_file, resolve


def unused(plan_file: Path) -> Iterator[str]:
    """A sentence for each; raises what ``read_plan`` raises of a plan that is wrong."""
    base = read_plan(plan_file).base
    for label, entry in read_file(plan_file)["entries"].items():
        kind = find(entry["method"])
        given = {"noun": "subject", "base": base, "method": kind.name, **entry.get("settings", {})}
        for sentence in idle(resolve(kind, {}, {}, given, preset_for(base))):
            yield f"[entries.{label}]: {sentence}"
