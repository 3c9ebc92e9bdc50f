"""The remote server's log: its end, what is added to it, and the line of it that says why a server ended."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Final

from jtunnel.errors import one_line
from jtunnel.remote import Remote
from jtunnel.service.script import Report, run_script

#: Of Jupyter's own format, `[C 2026-11-22 07:00:00.123 ServerApp] text`: the level and the text.
_ENTRY: Final = re.compile(r"^\[(?P<level>[DIWEC]) [^\]]*\]\s*(?P<text>.*)$")
#: The last line of a traceback, or what a shell, Python or nohup says of a program.
_FAILURE: Final = re.compile(r"^([\w.]+(Error|Exception)\b|SystemExit|\S+: .|.*\berror\b)", re.IGNORECASE)
#: In addresses, and in the settings that a Jupyter tells where its log level is DEBUG.
_TOKEN: Final = re.compile(r"(token(?:=|['\"]: ['\"]))[^&\s\"']+")
#: Colours and the like (ECMA-48 §5.4).
_CONTROL_SEQUENCE: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_LONGEST_REASON: Final = 300
_READ_S: Final = 60.0
#: Bytes of a log in one answer; decoded, they fit on a line of the control protocol.
_MOST: Final = 300_000
#: INODE.OFFSET.CHECKSUM of the log's first bytes, as far as they were read.
_POSITION: Final = re.compile(r"\d{1,20}\.\d{1,18}\.[0-9a-f]{8}")
_HEAD: Final = 256
_NOWHERE: Final = "0.0.00000000"


@dataclass(frozen=True, slots=True)
class LogPart:
    """Some lines of a log; `position` is where they end, for the next call.

    `path` is empty where it is not known where a server writes. With `anew`, this is another log than the one
    that was read before: a new server's, or one that was cut short.
    """

    path: str
    text: str
    position: str
    anew: bool


async def read_log(
    remote: Remote, key: str, lines: int, position: str | None = None, *, pid: int | None = None
) -> LogPart:
    """Read the end of the log of profile `key`'s server on this node, or what came after a `position`.

    Without a `position` these are the last `lines` lines, the last of which may be unfinished; it comes again
    with what follows. With one, these are whole lines. `pid` is that of a server that we did not start: what
    it writes to a file is its log. Raises ChannelError.
    """
    lines = max(1, lines)
    start = position if position and _POSITION.fullmatch(position) else ""
    report = await _read(remote, key, lines, start, pid)
    if start and not _is_same(report, start):
        report = await _read(remote, key, lines, _NOWHERE, pid)
    path, where = one_line(report.one("path") or ""), (report.one("from") or "").split()
    if len(where) != 3:  # there is no file (any more)
        return LogPart(path, "", position or _NOWHERE, anew=False)
    inode, begin, count = where
    data, end = report.data("text") or b"", int(begin) + int(count)
    if start:
        is_end = report.one("last") is not None and len(data) < _MOST
        kept = data if is_end else _whole_lines(data)
    else:
        # What begins before the bytes that were read may have been cut in two.
        if data.count(b"\n") <= lines and int(begin) > 0:
            data = data.partition(b"\n" if b"\n" in data else b" ")[2]
        chosen = data.split(b"\n")
        data = b"\n".join(chosen[-lines - (not chosen[-1]) :])
        kept = data[: data.rfind(b"\n") + 1]
    offset = end - (len(data) - len(kept))
    known = _checksum((report.data("head") or b"")[:offset])
    text = decode_log(kept if start else data)
    anew = report.one("anew") is not None and start not in ("", _NOWHERE)
    return LogPart(path, text, f"{inode}.{offset}.{known}", anew)


async def _read(remote: Remote, key: str, lines: int, position: str, pid: int | None) -> Report:
    return await run_script(
        remote,
        "log",
        key,
        timeout_s=_READ_S,
        lines=lines,
        position=position,
        pid="" if pid is None else pid,
        most=_MOST,
    )


def _is_same(report: Report, position: str) -> bool:
    """Whether a file that goes on where another ended begins like it: inodes are used again."""
    _, offset, known = position.split(".")
    head = report.data("head")
    return report.one("anew") is not None or head is None or _checksum(head[: int(offset)]) == known


def _checksum(head: bytes) -> str:
    return f"{zlib.crc32(head[:_HEAD]):08x}"


def _whole_lines(data: bytes) -> bytes:
    """Those of `data`; of a line that is longer than all of it, the words."""
    end = data.rfind(b"\n") + 1
    if not end and len(data) >= _MOST:
        end = data.rfind(b" ") + 1 or len(data)
    return data[:end]


def decode_log(data: bytes | None) -> str:
    """A log as text, without what steers terminals and the token that an old Jupyter may have printed."""
    text = _CONTROL_SEQUENCE.sub("", (data or b"").decode(errors="replace"))
    text = "".join(char if char.isprintable() or char in "\n\t" else " " for char in text)
    return _TOKEN.sub(r"\1...", text)


def reason(text: str) -> str:
    """The one line of a log that tells best why the server ended; empty for an empty log."""
    plain = [line.strip() for line in text.splitlines() if line.strip()]
    entries = [(match["level"], match["text"]) for line in plain if (match := _ENTRY.match(line))]
    serious = [entry for level, entry in entries if level in "EC" and entry]
    failures = [line for line in plain if not _ENTRY.match(line) and _FAILURE.match(line)]
    chosen = (serious or failures or plain)[-1:]
    return chosen[0][:_LONGEST_REASON] if chosen else ""
