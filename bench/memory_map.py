"""Resident memory of processes: RSS, and PSS, which splits shared pages among those who share them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import psutil

MIB: Final = 1 << 20
_KIB: Final = 1 << 10
_FIELD: Final = re.compile(r"^(Rss|Pss): +(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes; `pss` is None where the system does not tell it (macOS)."""

    rss: int
    pss: int | None


def parse_smaps_rollup(text: str) -> Memory:
    """The sums in /proc/PID/smaps_rollup, proc_pid_smaps_rollup in proc(5). Raises ValueError."""
    found = {name: int(size) * _KIB for name, size in _FIELD.findall(text)}
    if "Rss" not in found:
        raise ValueError("it has no line Rss")
    return Memory(found["Rss"], found.get("Pss"))


def add_up(pids: Iterable[int]) -> Memory:
    """The memory of several processes together."""
    parts = [_memory(pid) for pid in pids]
    known = [part.pss for part in parts if part.pss is not None]
    return Memory(sum(part.rss for part in parts), sum(known) if len(known) == len(parts) else None)


def _memory(pid: int) -> Memory:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return parse_smaps_rollup(file.read())
    except FileNotFoundError:
        return Memory(psutil.Process(pid).memory_info().rss, None)
