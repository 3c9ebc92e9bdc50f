"""What asyncssh's and the system's exceptions mean, in a person's words. The one place that knows."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

import asyncssh

from jtunnel.address import Address, TcpAddress
from jtunnel.errors import ChannelError, LinkError, one_line
from jtunnel.ssh.names import NAME_TIMEOUT_S
from jtunnel.ssh.prompts import Question

#: What strerror(3) and gai_strerror(3) of Linux, macOS and the BSDs say of a host that is not reached.
_UNREACHABLE = (
    "unreachable",
    "no route",
    "timed out",
    "is down",
    "not known",
    "no address",
    "name resolution",
    "unknown host",
)
_CHECK_HOST = "check the network (VPN?) and the host name"


def unreachable(where: str, error: BaseException) -> LinkError:
    """Why no connection to `where` came about."""
    if isinstance(error, socket.gaierror):
        reason = f"the name {where} is not known"
    elif isinstance(error, TimeoutError):
        reason = f"{where} does not answer"
    elif isinstance(error, ConnectionRefusedError):
        return LinkError(
            "host-unreachable", f"{where} refuses connections", "check that sshd runs there, and the port"
        )
    elif isinstance(error, OSError) and error.errno:
        reason = f"{where}: {os.strerror(error.errno).lower()}"
    else:
        reason = f"{where} closed the connection before the login"
    return LinkError("host-unreachable", reason, _CHECK_HOST)


def name_failed(name: str, error: BaseException) -> LinkError:
    """Why the look-up of a host name gave no address; it may give one at the next try."""
    if isinstance(error, TimeoutError):
        reason = f"the name {name} was not answered in {NAME_TIMEOUT_S:.0f} s"
    elif isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        reason = f"no name server answers for {name}"
    else:
        reason = f"the name {name} is not known"
    return LinkError("host-unreachable", reason, _CHECK_HOST)


def stage_timeout(where: str, stage: str, seconds: float) -> LinkError:
    """A stage of the connection took longer than it may."""
    advice = (
        _CHECK_HOST if stage == "connecting" else "it accepts connections: check what listens on that port"
    )
    return LinkError("host-unreachable", f"{where} did not answer within {seconds:.0f} s ({stage})", advice)


def login_failed(
    where: str, user: str, alias: str, error: BaseException, unusable: Sequence[str]
) -> LinkError:
    """What ended a connection between its first byte and the end of the login."""
    if is_refusal(error):
        return auth_failed(where, user, alias, unusable)
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


def is_refusal(error: BaseException) -> bool:
    """Whether the server took none of what was offered; a hang-up says nothing of the kind."""
    if isinstance(error, asyncssh.PermissionDenied):
        return True
    # sshd ends a connection that used up MaxAuthTries with a plain disconnect.
    return isinstance(error, asyncssh.DisconnectError) and "authentication failures" in error.reason.lower()


def auth_failed(where: str, user: str, alias: str, unusable: Sequence[str]) -> LinkError:
    """The server took none of what was offered; `unusable` says what could not be."""
    return LinkError(
        "auth-failed",
        f"{where} refused the login of {user}" + _listed(unusable),
        f"check user and keys (`ssh -v {user}@{alias}`) and identity_files in the profile; then bring it up",
    )


def input_required(where: str, user: str, question: Question, unusable: Sequence[str]) -> LinkError:
    """The login needs an answer to `question`, and nobody was there."""
    if question.about:
        wanted = f"the key {question.about} needs its passphrase, to log in to {where}"
    else:
        wanted = f"{where} wants a {question.kind} for {user}" + _listed(unusable)
    return LinkError("input-required", wanted, "bring the tunnel up in a terminal, and answer there")


def lost(where: str, error: BaseException | None, jump: str | None = None) -> LinkError:
    """What ended a connection that served; `jump` is the jump host that was lost with it."""
    if jump is not None:
        reason = f"with its jump host {jump}"
    elif isinstance(error, asyncssh.ConnectionLost):
        reason = "the host closed the connection"
    elif isinstance(error, asyncssh.DisconnectError):
        reason = quote(error.reason)
    elif isinstance(error, ConnectionResetError) and error.errno:
        reason = "the connection was reset"
    elif isinstance(error, TimeoutError):
        reason = "the connection timed out"
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
            reason=_classify(reason),
        )
    return ChannelError(
        "target-refused",
        f"the remote socket {target.path} cannot be opened{detail}",
        "check that its program runs, and AllowStreamLocalForwarding in sshd_config",
    )


def _classify(reason: str) -> str:
    """What kind of failure sshd's words mean: those of strerror(3) and gai_strerror(3), of its own system."""
    if "refused" in reason:
        return "refused"
    return "unreachable" if any(word in reason for word in _UNREACHABLE) else ""


def listening_refused(where: str, listen: Address) -> ChannelError:
    """The server does not listen there for us; it says no more than that (RFC 4254 §7.1)."""
    return ChannelError(
        "forward-refused",
        f"{where} does not let this login listen on {listen}",
        "ask its administrator for AllowTcpForwarding (and PermitListen) in sshd_config",
    )


def listening_twice(where: str, listen: Address) -> ChannelError:
    """The same connection listens there already."""
    return ChannelError(
        "forward-refused",
        f"another forward over the same connection listens on {listen} of {where}",
        "give one of the two another port or path",
        reason="twice",
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


def _listed(unusable: Sequence[str]) -> str:
    return "".join(f"; {reason}" for reason in unusable)
