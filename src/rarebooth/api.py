"""All that a notebook, the command line or a service needs: plan, train, generate."""

from rarebooth.drawing import generate
from rarebooth.plan import Plan, plan
from rarebooth.training import Interrupted, Progress, train

__all__ = ["Interrupted", "Plan", "Progress", "generate", "plan", "train"]
