"""Linux's word that the wall clock was set, which it is on every resume: timerfd_create(2), CANCEL_ON_SET.

It comes some milliseconds after a resume, and also when somebody sets the clock: let it only hasten a tick.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time


def open_timer() -> int | None:
    """A descriptor that reads as ECANCELED once after each setting of the clock; None where there is none."""
    if sys.platform != "linux":
        return None
    try:
        return _timer()
    except (OSError, AttributeError):
        return None


def _timer() -> int:
    if sys.version_info < (3, 13):
        return _libc_timer()
    descriptor = os.timerfd_create(time.CLOCK_REALTIME, flags=os.TFD_CLOEXEC | os.TFD_NONBLOCK)
    flags = os.TFD_TIMER_ABSTIME | os.TFD_TIMER_CANCEL_ON_SET
    try:
        os.timerfd_settime_ns(descriptor, flags=flags, initial=2**62)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _libc_timer() -> int:
    # TFD_NONBLOCK and TFD_CLOEXEC are these; TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET is 3.
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.timerfd_create(time.CLOCK_REALTIME, os.O_CLOEXEC | os.O_NONBLOCK)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    # struct itimerspec: the interval, then the time, each in seconds and nanoseconds. It is never to come.
    never = (ctypes.c_long * 4)(0, 0, 2 ** (8 * ctypes.sizeof(ctypes.c_long) - 1) - 1, 0)
    if libc.timerfd_settime(descriptor, 3, never, None) < 0:
        os.close(descriptor)
        raise OSError(ctypes.get_errno(), "timerfd_settime")
    return descriptor
