"""Which TCP connections of this machine have lost the program at their other end.

To TCP, a peer that has closed looks the same as one that has only said its last word. Where it is on
this machine, Linux's table of sockets tells them apart: nobody holds a closed one. Looks only.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Final

_TABLES: Final = {socket.AF_INET: "/proc/net/tcp", socket.AF_INET6: "/proc/net/tcp6"}
#: Columns of the table (proc(5)).
_LOCAL, _REMOTE, _INODE = 1, 2, 9

#: Each connection's two ends, as the table writes them, and whether a program holds the first.
_Ends = Mapping[tuple[str, str], bool]


def find_orphans(socks: Iterable[socket.socket]) -> dict[socket.socket, bool | None]:
    """Whether the peer of each connected socket is closed; None where that cannot be known.

    Reads the machine's whole table of sockets, which takes milliseconds where there are thousands.
    """
    tables: dict[tuple[int, int], _Ends] = {}
    return {sock: _is_orphan(sock, tables) for sock in socks}


def _is_orphan(sock: socket.socket, tables: dict[tuple[int, int], _Ends]) -> bool | None:
    if sys.platform != "linux":
        return None
    if sock.family == socket.AF_UNIX:
        return False  # the close of such a peer is not to be overlooked
    try:
        peer, own = sock.getpeername(), sock.getsockname()
        # Those of one listener have one port at our end.
        key = sock.family, own[1]
        if key not in tables:
            tables[key] = _read(*key)
    except OSError:
        return None
    held = tables[key].get((_encode(sock.family, peer), _encode(sock.family, own)))
    if held is not None:
        return not held
    # Some time after its close the kernel forgets a socket. One of another machine was never there.
    return True if ip_address(peer[0].partition("%")[0]).is_loopback else None


def _read(family: int, remote_port: int) -> _Ends:
    mark = f":{remote_port:04X} "
    with open(_TABLES[socket.AddressFamily(family)], encoding="ascii") as table:
        rows = [line.split() for line in table if mark in line]
    return {(row[_LOCAL], row[_REMOTE]): row[_INODE] != "0" for row in rows}


def _encode(family: int, address: tuple[str, int]) -> str:
    """Address and port as the kernel prints them: each 32 bits of the address in its own byte order."""
    packed = socket.inet_pton(family, address[0].partition("%")[0])
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"
