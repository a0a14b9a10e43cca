"""All that a notebook, the command line or a service needs: draft, plan, train, generate."""

from rarebooth.drawing import generate
from rarebooth.exporting import Exported, export
from rarebooth.merge_job import merge
from rarebooth.plan import Draft, Plan, draft, plan
from rarebooth.training import Interrupted, Progress, train

__all__ = [
    "Draft",
    "Exported",
    "Interrupted",
    "Plan",
    "Progress",
    "draft",
    "export",
    "generate",
    "merge",
    "plan",
    "train",
]
