"""All that a notebook, the command line or a service needs: plan, train, generate, evaluate, ...

Each name is imported when it is first asked for: who only plans does without the libraries that
draw and judge.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rarebooth.drawing import generate
    from rarebooth.errors import Interrupted
    from rarebooth.evaluation import evaluate
    from rarebooth.exporting import Exported, export
    from rarebooth.merge_job import merge
    from rarebooth.plan import Draft, Plan, draft, plan
    from rarebooth.quote import Quote, quote
    from rarebooth.reporting import make_report
    from rarebooth.training import Progress, train

__all__ = [
    "Draft",
    "Exported",
    "Interrupted",
    "Plan",
    "Progress",
    "Quote",
    "draft",
    "evaluate",
    "export",
    "generate",
    "make_report",
    "merge",
    "plan",
    "quote",
    "train",
]

_HOMES: Final = {
    "Draft": "plan",
    "Exported": "exporting",
    "Interrupted": "errors",
    "Plan": "plan",
    "Progress": "training",
    "Quote": "quote",
    "draft": "plan",
    "evaluate": "evaluation",
    "export": "exporting",
    "generate": "drawing",
    "make_report": "reporting",
    "merge": "merge_job",
    "plan": "plan",
    "quote": "quote",
    "train": "training",
}
"""The module that each name comes from."""

if not TYPE_CHECKING:  # a type checker would believe that there are names of all kinds

    def __getattr__(name: str) -> Any:  # noqa: ANN401
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"rarebooth.{_HOMES[name]}"), name)
        return found

    def __dir__() -> list[str]:
        return __all__
