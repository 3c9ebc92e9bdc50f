"""Reaches the daemon's control socket, and says why where it cannot. It starts no daemon."""

from __future__ import annotations

import os
import socket
import time

from jtunnel import paths
from jtunnel.client.connection import Connection
from jtunnel.errors import ControlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

#: How long a full queue of connecting clients is waited for.
BACKLOG_S: Final = 5.0


def dial(environ: Mapping[str, str], *, any_protocol: bool = False, remarks: bool = False) -> Connection:
    """Connect to the daemon of this user; with `remarks`, a person at the terminal is told that it is older.

    Raises ControlError: `no-daemon` where none answers, `daemon-failed` where the socket belongs to
    somebody else, `usage` where its path is longer than a socket's may be.
    """
    path = paths.control_socket(environ)
    if len(os.fsencode(path)) > paths.MAX_SOCKET_PATH:
        raise ControlError(
            "usage",
            f"{path} is longer than the {paths.MAX_SOCKET_PATH} bytes that a socket's path may have",
            "set JTUNNEL_RUNTIME_DIR to a shorter directory",
        )
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _check_owner(path)
        _connect(stream, path)
    except (FileNotFoundError, NotADirectoryError, ConnectionError):
        stream.close()
        raise ControlError("no-daemon", "no daemon runs", "start it with: jtunnel up") from None
    except PermissionError:
        stream.close()
        raise _foreign(path) from None
    except BaseException:
        stream.close()
        raise
    return Connection(stream, path, any_protocol=any_protocol, remarks=remarks)


def _connect(stream: socket.socket, path: str) -> None:
    give_up_at = time.monotonic() + BACKLOG_S
    stream.settimeout(BACKLOG_S)
    while True:
        try:
            stream.connect(path)
            return
        except BlockingIOError:
            # Linux answers EAGAIN at once, whatever the timeout, while the listener's queue is full.
            if time.monotonic() > give_up_at:
                raise ControlError(
                    "daemon-failed", "the daemon takes no new connections", "see what it does: jtunnel logs"
                ) from None
            time.sleep(0.02)


def _check_owner(path: str) -> None:
    owner = os.lstat(path).st_uid
    if owner != os.geteuid():
        raise ControlError(
            "daemon-failed",
            f"the control socket {path} belongs to {_user_name(owner)}, not to you",
            "set JTUNNEL_RUNTIME_DIR to a directory of your own",
        )


def _foreign(path: str) -> ControlError:
    directory = os.path.dirname(path)
    try:
        owner = _user_name(os.stat(directory).st_uid)
    except OSError:
        owner = "somebody else"
    return ControlError(
        "daemon-failed",
        f"no permission to use {path}: {directory} belongs to {owner}",
        "set JTUNNEL_RUNTIME_DIR to a directory of your own",
    )


def _user_name(uid: int) -> str:
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
