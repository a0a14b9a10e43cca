"""What a process holds in memory, by Linux' /proc."""

from pathlib import Path


def _status(pid: int | str, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def now(pid: int | str = "self") -> float:
    """MiB that it holds."""
    return _status(pid, "VmRSS")


def peak(pid: int | str = "self") -> float:
    """MiB that it held at most, since it started or ``forget_peak``."""
    return _status(pid, "VmHWM")


def forget_peak() -> None:
    """From now on, ``peak`` of this process is of what comes."""
    Path("/proc/self/clear_refs").write_text("5", "utf-8")
