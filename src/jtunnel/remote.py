"""What the layers above SSH see of a connection: commands to run, channels to open, ports to listen on.

Types only.

`jtunnel.ssh` implements these; `jtunnel.forward` and `jtunnel.jupyter` know nothing else of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

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
    """Opens one stream to a fixed far side or, for a dynamic forward, to any that is asked for."""

    async def __call__(self, protocol: asyncio.Protocol, target: Address | None = None) -> FarEnd:
        """Open it, drive `protocol` with what arrives, and return the writing side.

        Without `target`, it leads to the fixed far side.

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


#: Called for each channel that the remote host wants to open, before it is accepted. What is returned
#: is driven by it, from `connection_made` with the FarEnd to `connection_lost`. Where nobody is at
#: home it raises ChannelError `target-refused`, and the channel is refused.
Arrived = Callable[[], Coroutine[Any, Any, asyncio.Protocol]]


class RemoteListening(Protocol):
    """A port or Unix socket of the remote host that is ours while its connection lives."""

    @property
    def address(self) -> Address:
        """Where it listens, with the real port number."""
        ...

    async def give_back(self) -> None:
        """Listen no more; channels that are open stay. Waits for the answer: the caller bounds the time."""
        ...


class ListeningRemote(Remote, Protocol):
    """A Remote that can also listen over there; `where` names it in messages."""

    @property
    def where(self) -> str: ...

    async def listen(self, listen: Address, arrived: Arrived) -> RemoteListening:
        """Listen on the remote host, as `ssh -R` asks for it: an empty host is its loopback.

        Waits for the answer as long as the connection lives. Raises ChannelError: `forward-refused`,
        without a reason since the protocol has none (RFC 4254 §7.1), or `connection-lost`.
        """
        ...
