"""What this run was made on: machine, kernel, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping

from bench import processes

_PACKAGES = ("jtunnel", "asyncssh", "cryptography", "uvloop")


def gather_facts() -> dict[str, str]:
    """Name → value, in the order to print them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": f"{cores} of {_processor()}",
        "load before": format_load(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "OpenSSH": _openssh(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: _version(name) for name in _PACKAGES},
    }


def format_load() -> str:
    """The average number of processes at work in the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def fact_lines(facts: Mapping[str, str]) -> list[str]:
    """The facts as lines, and what they mean for the figures."""
    return [
        *(f"  {name:<12} {value}" for name, value in facts.items()),
        "",
        "  All over loopback, in one run. Absolute figures do not travel to another machine. A ratio is",
        "  jtunnel divided by the other: the median of the rounds' own ratios, their range in brackets.",
    ]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _openssh() -> str:
    told = subprocess.run([processes.find("ssh"), "-V"], capture_output=True, text=True, timeout=10.0)
    return (told.stderr or told.stdout).strip()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
