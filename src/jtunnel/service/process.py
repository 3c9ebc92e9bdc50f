"""What a script said of processes: their words, their Python environment, their output, when they started."""

from __future__ import annotations

import calendar
import contextlib
import re
import time
from dataclasses import dataclass
from typing import Final

from jtunnel.service.script import Report

#: The log of a server that we started, which is renamed at the next start and may be removed after that.
_OWN_LOG: Final = re.compile(r".*/jtunnel/([^/@]+)@[^/]+\.log(\.1)?( \(deleted\))?")


@dataclass(frozen=True, slots=True)
class Process:
    """One process, as far as it could be seen; all of it empty where it could not.

    `environment` is the directory of its Python environment as it was called, `real_environment` the same
    with symbolic links followed. `home` is its home directory where that is another than the login's.
    `output` is the file that takes its output.
    """

    words: tuple[str, ...] = ()
    environment: str = ""
    real_environment: str = ""
    home: str = ""
    output: str = ""

    @property
    def started_for(self) -> str:
        """The file name of the profile for which jtunnel started it; empty where it did not."""
        found = _OWN_LOG.fullmatch(self.output)
        return found[1] if found else ""


UNSEEN: Final = Process()


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of a node: seconds since 1970, and ticks since its boot, None where it counts none."""

    now_s: float
    ticks: int | None
    ticks_a_second: int

    def time_of(self, started: str) -> float | None:
        """When a process started, as scripts tell it, in seconds since 1970; None where that is unclear."""
        ticks, _, _ = started.partition("@")
        if ticks.isdigit():
            return (
                None if self.ticks is None else self.now_s - (self.ticks - int(ticks)) / self.ticks_a_second
            )
        return read_start(started)


def read_start(started: str) -> float | None:
    """A start time as ps tells it (in UTC), in seconds since 1970."""
    try:
        return float(calendar.timegm(time.strptime(started, "%a_%b_%d_%H:%M:%S_%Y")))
    except ValueError:
        return None


def read_processes(report: Report) -> dict[int, Process]:
    """Process → what was said of it."""
    said: dict[int, dict[str, list[str]]] = {}
    for word in ("word", "prefix", "real_prefix", "home", "output"):
        for line in report.all(word):
            pid, _, text = line.partition(" ")
            said.setdefault(int(pid), {}).setdefault(word, []).append(text)
    return {
        pid: Process(
            words=tuple(facts.get("word", ())),
            environment=facts.get("prefix", [""])[0],
            real_environment=facts.get("real_prefix", [""])[0],
            home=facts.get("home", [""])[0],
            output=facts.get("output", [""])[0],
        )
        for pid, facts in said.items()
    }


def read_clock(report: Report) -> Clock | None:
    """The time there, where it was said."""
    with contextlib.suppress(ValueError):
        now, ticks, a_second = (report.one("clock") or "").split(" ")
        return Clock(float(now), int(ticks) if ticks.isdigit() else None, int(a_second))
    return None
