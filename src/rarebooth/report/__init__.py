"""A page to look at: what runs learnt, how well, and at what cost."""

from rarebooth.report.page import report
from rarebooth.report.view import Nearest, RunView

__all__ = ["Nearest", "RunView", "report"]
