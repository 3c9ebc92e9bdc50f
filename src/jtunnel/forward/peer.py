"""What an accepted local socket tells about the program at its other end, and how to cut it off.

Works on raw sockets that no transport has yet; never consumes what the peer has sent.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def hung_up(sock: socket.socket) -> bool:
    """Whether the peer can certainly neither send nor read any more (it reset, or its Unix socket closed)."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return True
    if sys.platform == "darwin":
        return False  # poll(2) says POLLHUP there for a peer that only shut its writing side
    poll = select.poll()
    poll.register(sock, 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


def has_left(sock: socket.socket) -> bool:
    """Whether the peer of a waiting connection wants no answer any more.

    A peer that has sent something and then shut its writing side still waits for the answer. One that
    shut it without a word has left: to TCP, a closed socket looks the same.
    """
    try:
        waiting = sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return not waiting or hung_up(sock)


def reset_on_close(sock: socket.socket) -> None:
    """Make the close of a TCP socket a reset (RST) that drops unsent data; Unix sockets have none."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def reset(sock: socket.socket) -> None:
    """Close with a reset: the peer sees an error at once, never an orderly end."""
    reset_on_close(sock)
    sock.close()
