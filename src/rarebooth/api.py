"""All that a notebook, the command line or a service needs: plan, train, generate, evaluate, ..."""

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
