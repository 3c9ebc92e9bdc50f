"""What commands on the remote host tell and do about the listening side of a remote forward.

All are best effort: an account may run no commands, and the system may be any.
"""

from __future__ import annotations

import secrets
from importlib import resources
from typing import Final, Literal

from jtunnel import remote_shell
from jtunnel.errors import ChannelError
from jtunnel.remote import Remote

#: Seconds for a slow login shell and its start-up files, and for somebody else's command before ours.
_COMMAND_S: Final = 30.0
#: How /proc/net/tcp writes the loopback addresses (of whichever byte order), and a socket that listens.
_LOOPBACK: Final = (
    "0100007F",
    "7F000001",
    "00000000000000000000000001000000",
    "00000000000000000000000000000001",
)
_LISTENS: Final = "0A"

#: What is at a path: see `remote_socket.sh`; "" where the account does not tell.
Finding = Literal[
    "removed", "unsure", "alive", "foreign", "other", "absent", "no-directory", "read-only", "guarded", ""
]


async def clear(remote: Remote, path: str) -> Finding:
    """Remove the socket file there if it is ours and certainly served by nobody, and say what was found.

    Only after a try to connect to it was refused: its program may run on another machine. Raises
    ChannelError `connection-lost`.
    """
    return await _run(remote, "clear", path)


async def guard(remote: Remote, path: str) -> None:
    """Let only the account itself use the socket, whatever StreamLocalBindMask of the server is."""
    await _run(remote, "guard", path)


async def remove(remote: Remote, path: str) -> None:
    """Remove the socket file there, now that nobody listens."""
    await _run(remote, "remove", path)


async def is_loopback_only(remote: Remote, port: int) -> bool:
    """Whether the host certainly listens on that port for itself alone; only Linux tells."""
    try:
        told = await remote.run("cat /proc/net/tcp /proc/net/tcp6", timeout_s=_COMMAND_S)
    except (ChannelError, TimeoutError):
        return False
    rows = [line.split() for line in told.stdout.splitlines()]
    hosts = {
        row[1].partition(":")[0]
        for row in rows
        if len(row) > 3 and row[3] == _LISTENS and row[1].endswith(f":{port:04X}")
    }
    return bool(hosts) and hosts.issubset(_LOOPBACK)


async def _run(remote: Remote, task: str, path: str) -> Finding:
    nonce = secrets.token_hex(8)
    script = (resources.files(__package__) / "scripts" / "remote_socket.sh").read_text(encoding="utf-8")
    try:
        result = await remote.run(
            remote_shell.command_line(nonce),
            stdin=remote_shell.PREAMBLE
            + remote_shell.compose([script], nonce, {"task": task, "place": path}),
            timeout_s=_COMMAND_S,
            until=remote_shell.last_line(nonce),
        )
    except TimeoutError:
        return ""
    except ChannelError as error:
        if error.kind == "connection-lost":
            raise
        return ""
    found: Finding = remote_shell.cut_out(result.stdout, nonce).text.strip()  # type: ignore[assignment]
    return found
