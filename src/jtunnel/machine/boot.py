"""Which run of this machine it is, from one boot to the next."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

_LINUX: Final = "/proc/sys/kernel/random/boot_id"
_TIMEOUT_S: Final = 2.0


def read_boot() -> str:
    """A word that is another after each boot (random(4); kern.bootsessionuuid); "" where none is told."""
    try:
        if sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            return subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
            ).stdout.strip()
        with open(_LINUX, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, subprocess.SubprocessError, ValueError):
        return ""
