"""One remote command, from its input to its end: bounded in what it prints, closed in any case."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import asyncssh

from jtunnel.remote import CommandResult

#: Bytes of standard output that a command of ours may need; a start-up file can print without end.
MOST_OUTPUT: Final = 8 * 1024 * 1024
#: Bytes of standard error that are kept for a message.
_KEPT_ERRORS: Final = 64 * 1024
_CHUNK: Final = 64 * 1024


class EndlessOutputError(Exception):
    """The command printed more than MOST_OUTPUT bytes."""


async def run_to_end(
    process: asyncssh.SSHClientProcess[bytes], stdin: bytes, until: str | None
) -> CommandResult:
    """Feed a command and read it to its end, or to the line `until`; the channel is closed after that.

    Raises EndlessOutputError, asyncssh.Error and OSError.
    """
    errors = bytearray()
    drain = asyncio.get_running_loop().create_task(_keep_first(process.stderr, errors))
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(stdin)
            process.stdin.write_eof()
        output, ended = await _read(process.stdout, until)
        if not ended:
            await process.wait_closed()
        status = 0 if ended else process.exit_status
        return CommandResult(
            # asyncssh has -1 for a signal.
            None if status is None or status < 0 else status,
            output.decode(errors="replace"),
            errors.decode(errors="replace"),
        )
    finally:
        drain.cancel()
        process.close()


async def _read(stream: asyncssh.SSHReader[bytes], until: str | None) -> tuple[bytes, bool]:
    """Everything up to the end, or to the line `until`; whether that line was there."""
    output = bytearray()
    mark = None if until is None else f"\n{until}\n".encode()
    while data := await stream.read(_CHUNK):
        searched = max(0, len(output) - len(mark)) if mark else 0
        output += data
        if mark and (found := output.find(mark, searched)) >= 0:
            return bytes(output[: found + len(mark)]), True
        if len(output) > MOST_OUTPUT:
            raise EndlessOutputError(f"it printed more than {MOST_OUTPUT >> 20} MiB")
    return bytes(output), False


async def _keep_first(stream: asyncssh.SSHReader[bytes], kept: bytearray) -> None:
    with contextlib.suppress(asyncssh.Error, OSError):
        while data := await stream.read(_CHUNK):
            kept += data[: _KEPT_ERRORS - len(kept)]
