"""The remote server's log: its end, and the line of it that says why a server ended."""

from __future__ import annotations

import re
from typing import Final

from jtunnel.errors import one_line
from jtunnel.jupyter.script import run_script
from jtunnel.remote import Remote

#: Of Jupyter's own format, `[C 2026-11-22 07:00:00.123 ServerApp] text`: the level and the text.
_ENTRY: Final = re.compile(r"^\[(?P<level>[DIWEC]) [^\]]*\]\s*(?P<text>.*)$")
#: The last line of a traceback, or what a shell, Python or nohup says of a program.
_FAILURE: Final = re.compile(r"^([\w.]+(Error|Exception)\b|SystemExit|\S+: .|.*\berror\b)", re.IGNORECASE)
_TOKEN: Final = re.compile(r"(token=)[^&\s\"']+")
#: Colours and the like (ECMA-48 §5.4).
_CONTROL_SEQUENCE: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_LONGEST_REASON: Final = 300


async def read_log(remote: Remote, key: str, lines: int) -> tuple[str, str]:
    """Read the last `lines` lines of the log of profile `key`'s server on this node: (path, text).

    The text is empty where there is no log (an adopted server). Raises ChannelError.
    """
    report = await run_script(remote, "log", key, timeout_s=60.0, lines=max(1, lines))
    return one_line(report.one("log") or ""), decode_log(report.data("text"))


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
