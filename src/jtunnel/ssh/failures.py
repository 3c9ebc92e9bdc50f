"""What asyncssh's and the system's exceptions mean, in a person's words. The one place that knows."""

from __future__ import annotations

import os
import socket

import asyncssh

from jtunnel.address import Address, TcpAddress
from jtunnel.errors import ChannelError, LinkError, one_line

_CHECK_HOST = "check the network (VPN?) and the host name"


def unreachable(where: str, error: BaseException) -> LinkError:
    """Why no connection to `where` came about."""
    if isinstance(error, socket.gaierror):
        reason = f"the name {where} is not known"
    elif isinstance(error, TimeoutError):
        reason = f"{where} does not answer"
    elif isinstance(error, ConnectionRefusedError):
        reason = f"{where} refuses connections"
    elif isinstance(error, OSError) and error.errno:
        reason = f"{where}: {os.strerror(error.errno).lower()}"
    else:
        reason = f"{where} closed the connection before the login"
    return LinkError("host-unreachable", reason, _CHECK_HOST)


def stage_timeout(where: str, stage: str, seconds: float) -> LinkError:
    """A stage of the connection took longer than it may."""
    return LinkError(
        "host-unreachable", f"{where} did not answer within {seconds:.0f} s ({stage})", _CHECK_HOST
    )


def login_failed(where: str, user: str, alias: str, error: BaseException) -> LinkError:
    """What ended a connection between its first byte and the end of the login."""
    if isinstance(error, asyncssh.PermissionDenied) or _too_many_failures(error):
        return auth_failed(where, user, alias)
    if isinstance(error, asyncssh.KeyExchangeFailed | asyncssh.ProtocolError):
        reason = quote(error.reason) or "no common algorithms"
        return LinkError(
            "host-unreachable",
            f"{where}: the SSH handshake failed: {reason}",
            "check what listens on that port",
        )
    if isinstance(error, asyncssh.ChannelOpenError):
        return LinkError(
            "host-unreachable",
            f"{where} cannot be reached from the jump host: {quote(error.reason)}",
            "check the host name, and that the jump host may forward",
        )
    return unreachable(where, error)


def auth_failed(where: str, user: str, alias: str) -> LinkError:
    """The server took none of what was offered."""
    return LinkError(
        "auth-failed",
        f"{where} refused the login of {user}",
        f"check user and keys (`ssh -v {alias}`) and identity_files in the profile, then bring it up again",
    )


def lost(where: str, error: BaseException | None) -> LinkError:
    """What ended a connection that served."""
    if isinstance(error, asyncssh.DisconnectError) and not isinstance(error, asyncssh.ConnectionLost):
        reason = quote(error.reason)
    elif isinstance(error, OSError) and error.errno:
        reason = os.strerror(error.errno).lower()
    else:
        reason = ""
    return LinkError("connection-lost", f"lost {where}" + (f": {reason}" if reason else ""))


def channel_failed(target: Address, error: asyncssh.ChannelOpenError) -> ChannelError:
    """Why a channel to `target` did not open (RFC 4254 §5.1)."""
    if error.code in (asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, asyncssh.OPEN_UNKNOWN_CHANNEL_TYPE):
        return ChannelError(
            "forward-refused",
            f"the server forbids forwarding to {target}",
            "ask its administrator for AllowTcpForwarding (and PermitOpen) in sshd_config",
        )
    reason = quote(error.reason).lower()
    detail = f" ({reason})" if reason and reason not in ("open failed", "connect failed") else ""
    if isinstance(target, TcpAddress):
        return ChannelError(
            "target-refused",
            f"nobody listens on {target} of the remote host{detail}",
            "start the program there, or correct the forward's target",
        )
    return ChannelError(
        "target-refused",
        f"the remote socket {target.path} cannot be opened{detail}",
        "check that its program runs, and AllowStreamLocalForwarding in sshd_config",
    )


def no_commands(where: str, reason: str) -> ChannelError:
    """The login runs no commands of ours."""
    return ChannelError(
        "forward-refused",
        f"{where} runs no commands for this login: {quote(reason)}",
        "check the shell's start-up files; Jupyter needs commands to be found and started, forwards do not",
    )


def quote(text: str) -> str:
    """Text from the other side as one printable line of at most 200 characters."""
    return one_line(text)[:200]


def _too_many_failures(error: BaseException) -> bool:
    # sshd ends a connection that used up MaxAuthTries with a plain disconnect.
    return isinstance(error, asyncssh.DisconnectError) and "authentication failures" in error.reason.lower()
