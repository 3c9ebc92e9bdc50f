"""Why a server does not listen for us, which its answer does not say (RFC 4254 §7.1): asks more.

What a lost connection of ours has left over there is cleared away where that is certain.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.errors import ChannelError
from jtunnel.forward import remote_socket
from jtunnel.remote import ListeningRemote

#: Seconds in which the far side opens a channel to whoever may listen there.
_TRIAL_S: Final = 10.0
#: Ports that only root may listen on, by sshd's own rule.
_FIRST_FREE_PORT: Final = 1024


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not: `error` says it to a person.

    `passes`: it may be over in a while, since a lost connection may still have the place; `cleared`: what
    was in the way is gone now.
    """

    error: ChannelError
    passes: bool = False
    cleared: bool = False


async def explain(remote: ListeningRemote, name: str, listen: Address) -> Refusal:
    """Find out why the forward of that name may not listen there.

    Raises ChannelError `connection-lost`.
    """
    if isinstance(listen, UnixAddress):
        return await _explain_path(remote, name, listen)
    return await _explain_port(remote, name, listen)


async def _explain_port(remote: ListeningRemote, name: str, listen: TcpAddress) -> Refusal:
    another = f'give forward "{name}" another port'
    if not listen.port or not await _may_listen(remote, TcpAddress(listen.host, 0)):
        # An administrator may allow this port and no other.
        if listen.port and await _answers(remote, listen):
            return _taken(remote, f"port {listen.port}", another)
        return _forbidden(remote, "AllowTcpForwarding, PermitListen")
    if listen.port < _FIRST_FREE_PORT and not await _answers(remote, listen):
        message = f"port {listen.port} on {remote.where} is reserved for root"
        return Refusal(ChannelError("forward-refused", message, f"{another}, 1024 or higher"))
    return _taken(remote, f"port {listen.port}", another)


async def _explain_path(remote: ListeningRemote, name: str, listen: UnixAddress) -> Refusal:
    path, other = listen.path, f'give forward "{name}" another path'
    answers = await _answers(remote, listen)
    if answers:
        return _taken(remote, f"the socket {path}", other)
    # Where no channel may be opened to it, nothing tells whether it is served: then it stays.
    found = await remote_socket.clear(remote, path) if answers is False else ""
    where = f"{path} on {remote.where}"
    advice = f"remove it there, or {other}"
    match found:
        case "removed":
            return Refusal(_refused(f"{where} was left by an earlier connection", advice), cleared=True)
        case "alive":
            return _taken(remote, f"the socket {path}", other)
        case "foreign" | "unsure":
            return Refusal(_refused(f"{where} is a socket that jtunnel does not remove", advice))
        case "other":
            return Refusal(_refused(f"{where} exists and is not a socket", advice))
        case "no-directory" | "read-only":
            parent = path.rpartition("/")[0] or "/"
            wrong = "there is no directory" if found == "no-directory" else "no file may be made in"
            return Refusal(_refused(f"{wrong} {parent} on {remote.where}", f"make it there, or {other}"))
        case "absent":
            return _forbidden(remote, "AllowStreamLocalForwarding")
        case _:
            message = f"{remote.where} does not let this login listen on {path}"
            return Refusal(
                _refused(message, f"see that no such file is there and that sshd allows it, or {other}")
            )


async def _may_listen(remote: ListeningRemote, anywhere: TcpAddress) -> bool:
    """Whether the server gives us a port of its own choice."""

    async def turn_away() -> asyncio.Protocol:
        raise ChannelError("target-refused", "only a question")

    try:
        listening = await remote.listen(anywhere, turn_away)
    except ChannelError as error:
        if error.kind == "connection-lost":
            raise
        return False
    await listening.give_back()
    return True


async def _answers(remote: ListeningRemote, listen: Address) -> bool | None:
    """Whether anybody serves that place over there; None where we may not know."""
    if isinstance(listen, TcpAddress):
        host = "localhost" if listen.host in ("", "0.0.0.0", "::", "*") else listen.host  # noqa: S104
        listen = TcpAddress(host, listen.port)
    try:
        async with asyncio.timeout(_TRIAL_S):
            far_end = await remote.open(listen, asyncio.Protocol())
    except TimeoutError:
        return True
    except ChannelError as error:
        if error.kind == "connection-lost":
            raise
        return False if error.kind == "target-refused" else None
    far_end.abort()
    return True


def _taken(remote: ListeningRemote, what: str, other: str) -> Refusal:
    message = f"{what} on {remote.where} is taken, perhaps still by our lost connection"
    return Refusal(_refused(message, f"see who has it there, or {other}"), passes=True)


def _forbidden(remote: ListeningRemote, settings: str) -> Refusal:
    message = f"{remote.where} forbids remote forwarding ({settings})"
    return Refusal(_refused(message, "ask its administrator to allow it in sshd_config"))


def _refused(message: str, advice: str) -> ChannelError:
    return ChannelError("forward-refused", message, advice)
