"""The control socket: who may connect, and one session for each who does. Only the owner's programs may."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from jtunnel import paths, wire
from jtunnel.daemon.session import Session
from jtunnel.errors import ControlError

_log = logging.getLogger(__name__)

#: What the client may have put into the runtime directory before it starts a daemon.
_CLIENTS_FILES: Final = frozenset({"startup.log"})

MakeSession = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Session]


def prepare_directory(path: str, variable: str) -> None:
    """Make a private directory, whose place that variable may name.

    Raises ControlError where it is, or could be, somebody else's.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        stat = os.lstat(path)
        if stat.st_uid != os.getuid() or not os.path.isdir(path) or os.path.islink(path):
            raise ControlError(
                "daemon-failed", f"{path} is not a directory of yours", f"set {variable} to one"
            )
        if stat.st_mode & 0o1022 and set(os.listdir(path)) - _CLIENTS_FILES:
            # Made private, a directory such as /tmp would lock its other users out.
            raise ControlError(
                "daemon-failed", f"{path} is open to others and in use", f"set {variable} to another"
            )
        if stat.st_mode & 0o077:
            os.chmod(path, 0o700)
    except OSError as error:
        raise ControlError(
            "daemon-failed", f"cannot use {path}: {error.strerror}", f"set {variable} to another directory"
        ) from None


@asynccontextmanager
async def serve_control(path: str, make_session: MakeSession) -> AsyncIterator[None]:
    """Answer on the Unix socket at `path` while the block runs.

    A socket that a killed daemon left is replaced; the caller holds the lock, so no living one is.
    Raises ControlError.
    """
    if len(os.fsencode(path)) > paths.MAX_SOCKET_PATH:
        raise ControlError(
            "daemon-failed",
            f"the path {path} is too long for a socket",
            "set JTUNNEL_RUNTIME_DIR to a short one",
        )
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    except OSError as error:
        raise ControlError("daemon-failed", f"cannot replace {path}: {error.strerror}", "remove it") from None
    sessions: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        sessions.add(task)
        try:
            if _peer_uid(writer) == os.getuid():
                await make_session(reader, writer).run()
            else:
                _log.warning("turned away a connection from another user")
        except asyncio.CancelledError:
            # Ours, below; asyncio.streams of Python 3.11 would report it as an error.
            return
        finally:
            sessions.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(accept, sock=_bind(path), limit=wire.MAX_LINE)
    try:
        yield
    finally:
        server.close()
        for session in list(sessions):
            session.cancel()
        if sessions:
            await asyncio.wait(list(sessions))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _bind(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode must be right from the start; chmod afterwards leaves a gap.
    old_mask = os.umask(0o177)
    try:
        sock.bind(path)
    except OSError as error:
        sock.close()
        raise ControlError("daemon-failed", f"cannot listen on {path}: {error.strerror}") from None
    finally:
        os.umask(old_mask)
    sock.setblocking(False)
    return sock


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    sock = writer.get_extra_info("socket")
    if sys.platform == "linux":
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[1])
    # struct xucred of LOCAL_PEERCRED in unix(4) on macOS and the BSDs: version, uid, …
    credentials = sock.getsockopt(0, 0x001, 76)
    return int(struct.unpack_from("II", credentials)[1])
