"""What a connection of ours is on the remote: one process of sshd's, which a later connection may end.

A connection that is cut here lives on over there until that side notices, and keeps its streams and
its remote forwards' ports. Only a process that we noted ourselves is ever ended.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from importlib import resources
from typing import Final

from jtunnel import remote_shell
from jtunnel.errors import ChannelError
from jtunnel.ssh.connection import Connection

_log = logging.getLogger(__name__)

#: Seconds for a slow login shell and its start-up files.
_NOTE_TIMEOUT_S: Final = 30.0
#: The same, and the seconds that the script waits for the process's end.
_END_TIMEOUT_S: Final = 40.0


@dataclass(frozen=True, slots=True)
class Session:
    """The process that serves a connection: `started` tells it from a later one with its number."""

    node: str
    pid: int
    started: str


async def note_session(connection: Connection) -> Session | None:
    """Look up the session of a connection; None where the account or the system does not tell it.

    Raises ChannelError `connection-lost`, and TimeoutError.
    """
    said = await _run(connection, _NOTE_TIMEOUT_S, task="note")
    words = said.split()
    if len(words) != 4 or words[0] != "session" or not words[1].isdecimal():
        _log.debug("%s does not tell which process serves the connection", connection.where)
        return None
    return Session(node=words[3], pid=int(words[1]), started=words[2])


async def end_session(connection: Connection, session: Session) -> bool:
    """End an older session of the same account over a live connection; whether it was still there, and ended.

    Nothing happens on another node, to another process that has its number now, or to the connection's
    own. Raises what `note_session` does.
    """
    said = await _run(
        connection, _END_TIMEOUT_S, task="end", node=session.node, pid=session.pid, started=session.started
    )
    return said.strip() == "ended"


async def _run(connection: Connection, timeout_s: float, **variables: str | int) -> str:
    """What the script says; nothing where the account runs no commands, or not as they are sent."""
    nonce = secrets.token_hex(8)
    script = (resources.files(__package__) / "scripts" / "session.sh").read_text(encoding="utf-8")
    try:
        result = await connection.run(
            remote_shell.command_line(nonce),
            stdin=remote_shell.PREAMBLE + remote_shell.compose([script], nonce, variables),
            timeout_s=timeout_s,
            until=remote_shell.last_line(nonce),
        )
    except ChannelError as error:
        if error.kind == "connection-lost":
            raise
        return ""
    return remote_shell.cut_out(result.stdout, nonce).text
