"""What an accepted local socket tells about the program at its other end, and how to cut it off.

Works on raw sockets that no transport has yet; never consumes what the peer has sent.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import sys
from collections.abc import Iterable
from typing import Final

from jtunnel.forward.orphans import find_orphans

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
#: macOS says POLLHUP of a peer that only shut its writing side, where Linux has a word of its own.
_SAID_ALL: Final = getattr(select, "POLLRDHUP", select.POLLHUP)
#: HTTP clients do not shut their writing side and wait: the server takes that for a client that left.
_HTTP_REQUEST: Final = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) /")


def hung_up(sock: socket.socket) -> bool:
    """Whether the peer can certainly neither send nor read any more (it reset, or its Unix socket closed)."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return True
    if sys.platform == "darwin":
        return False  # poll(2) says POLLHUP there for a peer that only shut its writing side
    return _polled(sock, select.POLLHUP | select.POLLERR)


def find_departed(socks: Iterable[socket.socket]) -> set[socket.socket]:
    """Those of some waiting connections whose peer wants no answer any more.

    A peer that has sent something and then shut its writing side still waits for the answer, one that
    has closed its socket does not: what it asked for must not be done behind its back. One that shut
    its side without a word has left in any case.
    """
    departed: set[socket.socket] = set()
    ambiguous: dict[socket.socket, bytes] = {}
    for sock in socks:
        try:
            words = sock.recv(8, socket.MSG_PEEK)
        except BlockingIOError:
            continue
        except OSError:
            words = b""
        if not words or hung_up(sock):
            departed.add(sock)
        elif _polled(sock, _SAID_ALL):
            ambiguous[sock] = words
    for sock, closed in find_orphans(ambiguous).items():
        if _HTTP_REQUEST.match(ambiguous[sock]) if closed is None else closed:
            departed.add(sock)
    return departed


def _polled(sock: socket.socket, events: int) -> bool:
    poll = select.poll()
    poll.register(sock, events)
    return any(found & events for _, found in poll.poll(0))


def reset_on_close(sock: socket.socket) -> None:
    """Make the close of a TCP socket a reset (RST) that drops unsent data; Unix sockets have none."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def reset(sock: socket.socket) -> None:
    """Close with a reset: the peer sees an error at once, never an orderly end."""
    reset_on_close(sock)
    sock.close()
