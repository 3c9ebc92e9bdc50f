"""Finding and ending the processes that a test started, also those that left their parent. Starts none.

A process is known by a variable of its environment, which daemons and their children keep.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterable

import psutil

#: Set in the environment of a test run, and by it in the sessions of its SSH servers.
MARK = "JTUNNEL_TEST_MARK"


def running_with(variable: str, value: str) -> list[psutil.Process]:
    """The live processes of any account whose environment has `variable=value`, this one left out."""
    found = []
    for process in psutil.process_iter():
        try:
            if not _may_have(process.pid, f"{variable}={value}"):
                continue
            if process.environ().get(variable) == value and is_live(process):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return [process for process in found if process != psutil.Process()]


def _may_have(pid: int, setting: str) -> bool:
    """Whether it is worth asking psutil, which takes its time; this is done twice for each test."""
    if sys.platform != "linux":
        return True
    with open(f"/proc/{pid}/environ", "rb") as file:
        return os.fsencode(setting) in file.read()


def running_as(uid: int) -> list[psutil.Process]:
    """The live processes of one account."""
    found = []
    for process in psutil.process_iter():
        try:
            if uid in process.uids() and is_live(process):
                found.append(process)
        except psutil.Error:
            continue
    return found


def children(pid: int | None = None) -> list[psutil.Process]:
    """The live descendants of a process, else of this one."""
    if pid is None and _is_childless():
        return []
    return [process for process in psutil.Process(pid).children(recursive=True) if is_live(process)]


def _is_childless() -> bool:
    """Whether this process is known to have no child; the first of a thread's children is always listed."""
    try:
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children") as file:
                if file.read():
                    return False
    except OSError:  # another system, or a thread that has just ended
        return False
    return True


def is_live(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command_line(process: psutil.Process) -> list[str]:
    """Its words; none where it has ended since it was found."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def await_end(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait until all have ended; the answer is those that have not.

    A zombie has ended: who adopts orphans in a container may reap them late, or never.
    """
    awaited = list(processes)
    if not hasattr(os, "pidfd_open"):
        return [process for process in psutil.wait_procs(awaited, timeout=timeout_s)[1] if is_live(process)]
    deadline = time.monotonic() + timeout_s
    return [process for process in awaited if not _has_ended(process, deadline - time.monotonic())]


def _has_ended(process: psutil.Process, timeout_s: float) -> bool:
    """Whether it ends within the time; its pidfd becomes readable when it does (pidfd_open(2))."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if is_live(process):
            select.select([descriptor], [], [], max(0.0, timeout_s))
        return not is_live(process)
    finally:
        os.close(descriptor)


def kill(processes: Iterable[psutil.Process], timeout_s: float = 5.0) -> None:
    """End them at once and wait; raises RuntimeError where one cannot be ended."""
    doomed = list(processes)
    for process in doomed:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    if alive := await_end(doomed, timeout_s):
        raise RuntimeError(f"these processes cannot be killed: {describe(alive)}")


def describe(processes: Iterable[psutil.Process]) -> str:
    """Their numbers and command lines, for a message."""
    lines = []
    for process in processes:
        try:
            lines.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
        except psutil.Error:
            lines.append(str(process.pid))
    return "; ".join(lines)
