"""All that a notebook, the command line or a service needs: draft, plan, train, generate."""

from rarebooth.drawing import generate
from rarebooth.plan import Draft, Plan, draft, plan
from rarebooth.training import Interrupted, Progress, train

__all__ = ["Draft", "Interrupted", "Plan", "Progress", "draft", "generate", "plan", "train"]
