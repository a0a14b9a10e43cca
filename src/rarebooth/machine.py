"""The machine that something was measured on, by the names that it gives itself."""

import os
import platform
from pathlib import Path


def processor() -> str:
    """The processor's name, where the system tells it."""
    known = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return known
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, known)


def machine() -> str:
    """Processor, how many of its cores this process may use, memory, and the system.

    >>> machine()  # doctest: +SKIP
    'AMD EPYC, 2 cores, 8 GB of memory, Linux 6.8.0'
    """
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    usual = f"{processor()}, {cores} core{'s' * (cores > 1)}"
    version = platform.release().partition("-")[0]  # what follows is whose build it is
    return f"{usual}{_memory()}, {platform.system()} {version}"


def _memory() -> str:
    """The memory that is built in, where the system tells it."""
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return ""
    return f", {size / 1e9:.0f} GB of memory"
