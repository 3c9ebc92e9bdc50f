"""What the layers above SSH see of a connection: commands to run and channels to open. Types only.

`jtunnel.ssh` implements these; `jtunnel.forward` and `jtunnel.jupyter` know nothing else of it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from jtunnel.address import Address


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a remote command left: its exit status (None where a signal ended it) and its output."""

    exit_status: int | None
    stdout: str
    stderr: str


class FarEnd(Protocol):
    """The writing side of an open channel: the part of asyncio.Transport that bridges use.

    `abort` drops the channel and what was not yet sent; the protocol's `connection_lost` follows.
    """

    def write(self, data: bytes) -> None: ...
    def write_eof(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Opener(Protocol):
    """Opens one stream to a fixed far side."""

    async def __call__(self, protocol: asyncio.Protocol) -> FarEnd:
        """Open it, drive `protocol` with what arrives, and return the writing side.

        `protocol.connection_made` is not called: the returned object is the transport. Nothing is
        delivered before the caller's next turn of the event loop. `connection_lost(None)` means
        that the far side closed in order, any exception that the stream was cut.

        Raises ChannelError (`forward-refused`, `target-refused`, `connection-lost`).
        """
        ...


class Remote(Protocol):
    """A live SSH connection, as its users see it."""

    async def run(
        self, command: str, *, stdin: str = "", timeout_s: float, until: str | None = None
    ) -> CommandResult:
        """Run a command line in the account's login shell and wait for its end.

        With `until`, it is over (exit status 0) as soon as a line of standard output equals that:
        what a start-up file left running may keep the output open for ever.

        Commands on one connection run one after another (sshd's MaxSessions may be 1).
        Raises ChannelError (`connection-lost`, or `forward-refused` where the server gives no
        sessions) and TimeoutError after `timeout_s` seconds.
        """
        ...

    async def open(self, target: Address, protocol: asyncio.Protocol) -> FarEnd:
        """Open a stream from the remote host to `target`; see `Opener`."""
        ...
