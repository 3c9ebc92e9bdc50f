"""Times and quantities as people read them. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_UNITS: Final = ("kB", "MB", "GB", "TB", "PB")


def span(seconds_s: float) -> str:
    """A duration in its largest unit: 12 s, 3 min, 5 h, 2 d."""
    whole_s = max(0, int(seconds_s))
    if whole_s < 60:
        return f"{whole_s} s"
    if whole_s < 3600:
        return f"{whole_s // 60} min"
    return f"{whole_s // 3600} h" if whole_s < 86400 else f"{whole_s // 86400} d"


def size(count: float) -> str:
    """Bytes in three digits or so: 12 B, 3.4 kB, 56 MB."""
    if count < 1000:
        return f"{count:.0f} B"
    step = 0
    count /= 1000
    while count >= 999.5 and step < len(_UNITS) - 1:
        count /= 1000
        step += 1
    return f"{count:.1f} {_UNITS[step]}" if count < 9.95 else f"{count:.0f} {_UNITS[step]}"


def latency(milliseconds_ms: float) -> str:
    """A round trip: 0.4 ms, 12 ms, 1.2 s."""
    if milliseconds_ms < 1000:
        return f"{milliseconds_ms:.0f} ms" if milliseconds_ms >= 9.5 else f"{milliseconds_ms:.1f} ms"
    return f"{milliseconds_ms / 1000:.1f} s"


def moment(iso: str) -> float:
    """Seconds since 1970 of a UTC time such as 2026-11-22T04:00:00Z.

    Worked out by hand, since importing datetime would cost each `status` some of its start-up time.
    """
    year, month, day = int(iso[0:4]), int(iso[5:7]), int(iso[8:10])
    # Years that begin in March have their leap day last, and months then follow one formula.
    if month < 3:
        year, month = year - 1, month + 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
    return days * 86400 + int(iso[11:13]) * 3600 + int(iso[14:16]) * 60 + float(iso[17:].rstrip("Z"))
