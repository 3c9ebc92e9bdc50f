"""The service manager's watchdog: hears that the event loop turns, as in sd_watchdog_enabled(3).

A manager that does not hear it in time ends the daemon and starts another.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
from collections.abc import Mapping
from typing import Final

from jtunnel.daemon.notify import notify

#: The part of the watchdog's time between two signs of life; half of it is what systemd advises.
_PART: Final = 0.4


async def keep_watchdog(environ: Mapping[str, str]) -> None:
    """Give signs of life until cancelled; returns at once where no watchdog waits for this process."""
    interval_s = sign_interval_s(environ, os.getpid())
    if interval_s is None:
        return
    # The watchdog's SIGABRT then leaves in the journal where the loop was stuck.
    faulthandler.enable()
    while True:
        notify(environ, "WATCHDOG=1")
        await asyncio.sleep(interval_s)


def sign_interval_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds between two signs of life of the process `pid`; None where nobody waits for them."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or not int(microseconds):
        return None
    return int(microseconds) / 1e6 * _PART
