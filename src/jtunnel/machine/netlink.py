"""Linux's notices about interfaces, addresses and routes (rtnetlink(7)), and which of them may matter.

Only a trigger: whoever gets one looks at the machine itself, so that a notice too many costs little, and one
that cannot be read is taken for news.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from typing import Final

from jtunnel.machine.routes import is_nearby

#: Groups for links, and addresses and routes of IPv4 and IPv6. Links too: taking one down drops its
#: IPv4 routes without a word.
_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400

_NEWLINK, _DELLINK, _NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE = 16, 17, 20, 21, 24, 25
# struct nlmsghdr, ifinfomsg, ifaddrmsg, rtmsg and rtattr.
_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")

_IFF_LOOPBACK, _IFF_UP_AND_RUNNING = 0x8, 0x41
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_OPTIMISTIC, _IFA_F_TENTATIVE = 0x04, 0x40
_NEARBY_SCOPES = {253, 254}  # RT_SCOPE_LINK, RT_SCOPE_HOST
_RTA_DST = 1
_RT_TABLE_LOCAL = 255
_RTM_F_CLONED = 0x200
#: Local, broadcast, anycast and multicast routes follow from addresses.
_IMPLIED_TYPES = {2, 3, 4, 5}
#: Notices remembered before it starts afresh; a host with that many changes is looked at more often, no more.
_MEMORY: Final = 10_000


def open_netlink() -> socket.socket:
    """A socket on which the notices arrive; raises OSError where that is not allowed."""
    if sys.platform != "linux":
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    try:
        sock.bind((0, _GROUPS))
    except OSError:
        sock.close()
        raise
    return sock


class Sieve:
    """Tells news from repetition: Wi-Fi scans and router advertisements come all day and change nothing."""

    def __init__(self) -> None:
        self._links: dict[int, int] = {}
        self._addresses: set[tuple[int, bytes]] = set()

    def forget(self) -> None:
        """Take everything for news again, as after notices were lost."""
        self._links.clear()
        self._addresses.clear()

    def tells(self, data: bytes) -> bool:
        """Whether one datagram of notices has news."""
        news = False
        position = 0
        try:
            while position < len(data):
                length, kind, *_ = _HEADER.unpack_from(data, position)
                if not _HEADER.size <= length <= len(data) - position:
                    raise struct.error("a notice with an impossible length")
                news |= self._is_news(kind, data[position + _HEADER.size : position + length])
                position += _aligned(length)
        except struct.error:
            self.forget()
            return True
        return news

    def _is_news(self, kind: int, body: bytes) -> bool:
        if len(self._links) + len(self._addresses) > _MEMORY:
            self.forget()
        if kind in {_NEWLINK, _DELLINK}:
            return self._is_link_news(kind, body)
        if kind in {_NEWADDR, _DELADDR}:
            return self._is_address_news(kind, body)
        return kind in {_NEWROUTE, _DELROUTE} and _is_route_news(body)

    def _is_link_news(self, kind: int, body: bytes) -> bool:
        family, _type, index, flags, _changed = _LINK.unpack_from(body)
        # A bridge reports its ports in the family AF_BRIDGE, where DELLINK does not end the link.
        if family != socket.AF_UNSPEC or flags & _IFF_LOOPBACK:
            return False
        if kind == _DELLINK:
            self._links.pop(index, None)
            return True
        state: int = flags & _IFF_UP_AND_RUNNING
        before = self._links.get(index)
        self._links[index] = state
        return before != state

    def _is_address_news(self, kind: int, body: bytes) -> bool:
        _family, _prefix, flags, scope, index = _ADDRESS.unpack_from(body)
        if scope in _NEARBY_SCOPES:
            return False
        attributes = _attributes(body[_ADDRESS.size :])
        if _IFA_FLAGS in attributes:
            (flags,) = struct.unpack("=I", attributes[_IFA_FLAGS])
        address = (index, attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS, b""))
        is_tentative = bool(flags & _IFA_F_TENTATIVE) and not flags & _IFA_F_OPTIMISTIC
        if kind == _DELADDR or is_tentative:
            # A tentative one is not there yet: another notice comes when it is.
            self._addresses.discard(address)
            return kind == _DELADDR
        if address in self._addresses:
            return False
        self._addresses.add(address)
        return True


def _is_route_news(body: bytes) -> bool:
    _family, _bits, _source_bits, _tos, table, _by, _scope, kind, flags = _ROUTE.unpack_from(body)
    if table == _RT_TABLE_LOCAL or kind in _IMPLIED_TYPES or flags & _RTM_F_CLONED:
        return False
    return not is_nearby(_attributes(body[_ROUTE.size :]).get(_RTA_DST, b""))


def _attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a message by their kind; raises struct.error where they make no sense."""
    found = {}
    position = 0
    while position < len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, position)
        if not _ATTRIBUTE.size <= length <= len(data) - position:
            raise struct.error("an attribute with an impossible length")
        found[kind & 0x3FFF] = data[position + _ATTRIBUTE.size : position + length]
        position += _aligned(length)
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3
