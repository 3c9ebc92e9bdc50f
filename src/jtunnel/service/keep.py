"""Writes down on the remote which server is a profile's, so that the next search chooses the same."""

from __future__ import annotations

from jtunnel.remote import Remote
from jtunnel.service.record import Record, record_text
from jtunnel.service.script import run_script

WRITE_S = 60.0


async def write_record(
    remote: Remote, key: str, record: Record, *, secret: str = "", replace: bool = False
) -> bool:
    """Write the record; False where another living process has one, or where it could not be written.

    With `replace`, it is written all the same. `secret` is the token of an adopted server that has written
    down none itself, and is kept in a file of its own.
    """
    report = await run_script(
        remote,
        "record",
        key,
        timeout_s=WRITE_S,
        pid=record.server.pid,
        started=record.server.started,
        content=record_text(record),
        secret=secret,
        replace="1" if replace else "",
    )
    return report.one("written") is not None
