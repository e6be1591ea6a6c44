"""Under which conditions something was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def conditions() -> dict[str, str]:
    """Return the machine, the versions, and how busy the machine is at the moment."""
    return {
        "CPU": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') >> 30} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "etcd": _etcd_version(),
        "load average": load_average(),
    }


def load_average() -> str:
    """Return the load of the last minute, five, and fifteen."""
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(found, platform.machine())


def _etcd_version() -> str:
    output = subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True)
    return output.stdout.splitlines()[0].rpartition(" ")[2]
