"""How the wait for a server that was launched can end badly; the waiting itself is each kind's own."""

from __future__ import annotations

from typing import Final

from jtunnel.errors import ServerError
from jtunnel.service.server import Server

#: How long a server may take while its process lives: imports on a network home take minutes.
READY_S: Final = 180.0
#: How long one remote command waits; others on the same connection wait for it.
ROUND_S: Final = 8
PAUSE_S: Final = 0.3
#: Refusals of a channel to a socket that exists before sshd is held to forbid it.
REFUSALS: Final = 3


class EndedError(ServerError):
    """The server ended before it answered; `port_was_taken` tells a reason that another port cures."""

    def __init__(self, message: str, advice: str, *, port_was_taken: bool) -> None:
        super().__init__("jupyter-failed", message, advice)
        self.port_was_taken = port_was_taken


class SocketRefusedError(ServerError):
    """The server listens on its socket, and sshd does not forward to it."""


def ended_error(noun: str, server: Server, key: str, why: str) -> EndedError:
    """It ended on its own, for the reason `why` of its log."""
    taken = any(
        sign in why.lower()
        for sign in ("address already in use", "is not available", "is already in use", "eaddrinuse")
    )
    return EndedError(
        f"{noun} ended on {server.host} before it answered: {why or 'its log is empty'}",
        f"see `jtunnel logs {key} --remote`",
        port_was_taken=taken,
    )


def socket_refused_error(server: Server, advice: str) -> SocketRefusedError:
    """What it listens on cannot be reached through this sshd."""
    return SocketRefusedError(
        "forward-refused",
        f"sshd on {server.host} does not forward to Unix sockets (AllowStreamLocalForwarding, OpenSSH 6.7)",
        advice,
    )
