"""The routing of macOS: the notices of a route socket (route(4)) and the table that sysctl(3) gives.

Written from Apple's headers (xnu, bsd/net/route.h and rtsock.c). Both speak in struct rt_msghdr.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Final

from jtunnel.machine.routes import Route, is_nearby

_VERSION = 5
_RTM_ADD, _RTM_DELETE, _RTM_CHANGE, _RTM_GET = 1, 2, 3, 4
_RTM_NEWADDR, _RTM_DELADDR, _RTM_IFINFO = 0xC, 0xD, 0xE
# The start that all messages share (length, version, type), and that of struct rt_msghdr: also index, flags,
# which addresses follow.
_START: Final = struct.Struct("=HBB")
_ROUTE: Final = struct.Struct("=HBBHxxii")
_ROUTE_SIZE: Final = 92

_RTF_GATEWAY, _RTF_STATIC = 0x2, 0x800
#: Refused, redirected, a neighbour's, cloned, local, broadcast, multicast: made by use, not by people.
_RTF_PASSING: Final = 0x8 | 0x10 | 0x400 | 0x20000 | 0x200000 | 0x400000 | 0x800000
_DESTINATION, _GATEWAY, _MASK = 0, 1, 2

_CTL_NET, _PF_ROUTE, _NET_RT_FLAGS = 4, 17, 2
_TRIES = 3


def open_route_socket() -> socket.socket:
    """A socket on which the notices arrive; raises OSError where that is not allowed."""
    # On Linux AF_ROUTE is another name of AF_NETLINK.
    if sys.platform == "linux":
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    sock = socket.socket(socket.AF_ROUTE, socket.SOCK_RAW, 0)
    sock.setblocking(False)
    return sock


class Sieve:
    """Tells news from what use alone makes, such as the neighbours that the cache learns."""

    def forget(self) -> None:
        """Notices were lost; it remembers none."""

    def tells(self, data: bytes) -> bool:
        """Whether notices may mean that addresses, routes or an interface changed."""
        try:
            return any(_is_news(kind, message) for kind, message in _messages(data))
        except struct.error:
            return True


def _is_news(kind: int, message: bytes) -> bool:
    if kind in {_RTM_ADD, _RTM_DELETE, _RTM_CHANGE}:
        *_, flags, _addresses = _ROUTE.unpack_from(message)
        return not flags & _RTF_PASSING
    return kind in {_RTM_NEWADDR, _RTM_DELADDR, _RTM_IFINFO}


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages by their kind; raises struct.error where they make no sense."""
    position = 0
    while position < len(data):
        length, version, kind = _START.unpack_from(data, position)
        if not _START.size <= length <= len(data) - position:
            raise struct.error("a message with an impossible length")
        if version == _VERSION:
            yield kind, data[position : position + length]
        position += length


def read_sysctl_routes() -> frozenset[Route] | None:
    """The routes of macOS; None where they cannot be read."""
    if sys.platform == "linux":
        return None
    try:
        return frozenset(parse_routes(_dump()))
    except (OSError, AttributeError, struct.error):
        return None


def _dump() -> bytes:
    libc = ctypes.CDLL(None, use_errno=True)
    name = (ctypes.c_int * 6)(_CTL_NET, _PF_ROUTE, 0, 0, _NET_RT_FLAGS, _RTF_GATEWAY | _RTF_STATIC)
    for _ in range(_TRIES):
        size = ctypes.c_size_t(0)
        if libc.sysctl(name, 6, None, ctypes.byref(size), None, ctypes.c_size_t(0)) < 0:
            raise OSError(ctypes.get_errno(), "sysctl")
        # It may grow meanwhile.
        size.value += 4096
        table = ctypes.create_string_buffer(size.value)
        if libc.sysctl(name, 6, table, ctypes.byref(size), None, ctypes.c_size_t(0)) == 0:
            return table.raw[: size.value]
        if ctypes.get_errno() != errno.ENOMEM:
            break
    raise OSError(ctypes.get_errno(), "sysctl")


def parse_routes(data: bytes) -> Iterator[Route]:
    """The routes of a dump; raises struct.error where it makes no sense."""
    for kind, message in _messages(data):
        if kind != _RTM_GET or len(message) < _ROUTE_SIZE:
            continue
        _length, _version, _kind, index, flags, present = _ROUTE.unpack_from(message)
        addresses = _addresses(message[_ROUTE_SIZE:], present)
        destination = _packed(addresses.get(_DESTINATION, b""), addresses.get(_DESTINATION, b""))
        if flags & _RTF_PASSING or not destination or is_nearby(destination):
            continue
        try:
            interface = socket.if_indextoname(index)
        except OSError:
            continue
        mask = _packed(addresses.get(_MASK, b""), addresses[_DESTINATION])
        # A host has no mask.
        bits = int.from_bytes(mask).bit_count() if _MASK in addresses else 8 * len(destination)
        yield Route(interface, destination, bits, _packed(addresses.get(_GATEWAY, b""), b""))


def _addresses(data: bytes, present: int) -> dict[int, bytes]:
    """The struct sockaddr that follow a message, each with its length first, padded to four bytes."""
    found = {}
    position = 0
    for number in range(8):
        if present & 1 << number and position < len(data):
            length = data[position]
            found[number] = data[position : position + length]
            position += max(4, (length + 3) & ~3)
    return found


def _packed(address: bytes, like: bytes) -> bytes:
    """The address in a struct sockaddr, empty for one that is no IP address.

    A mask is cut short, and of a kind that only the address `like` tells.
    """
    family = (like or address)[1:2]
    if family == b"\x02":  # AF_INET
        return address[4:8].ljust(4, b"\0")
    if family == b"\x1e":  # AF_INET6 of macOS
        return address[8:24].ljust(16, b"\0")
    return b""
