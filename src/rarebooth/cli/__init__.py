"""The command line: a thin skin on ``api``, one file a verb. Nothing heavy is imported here."""

from rarebooth.cli.app import main, run

__all__ = ["main", "run"]
