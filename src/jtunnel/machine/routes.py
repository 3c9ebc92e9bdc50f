"""The routes of this machine that lead somewhere: not to itself, its own wire or a group.

Linux: read from /proc, where every table of IPv6 and the main one of IPv4 are. What a policy chooses between
tables shows in the address that packets leave from.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

_RTF_REJECT = 0x200
_RTF_ANYCAST, _RTF_CACHE, _RTF_LOCAL = 0x00100000, 0x01000000, 0x80000000
#: Characters of a table; a machine with more routes is a router, where those of others come and go all day.
_LONGEST: Final = 1 << 18


class Route(NamedTuple):
    """Where packets to a network go; addresses are packed, `gateway` is empty for what is on the wire."""

    interface: str
    destination: bytes
    bits: int
    gateway: bytes

    def __str__(self) -> str:
        what = "the default route" if self.bits == 0 else f"the route to {self.network}"
        by = f" by {ipaddress.ip_address(self.gateway)}" if self.gateway else ""
        return f"{what}{by} on {self.interface}"

    @property
    def network(self) -> str:
        """The destination as people write it."""
        return f"{ipaddress.ip_address(self.destination)}/{self.bits}"


def read_proc_routes() -> frozenset[Route] | None:
    """The routes of Linux; None where they cannot be read or are too many to follow."""
    try:
        with open("/proc/net/route", encoding="utf-8", errors="surrogateescape") as file:
            routes4 = file.read(_LONGEST)
    except OSError:
        return None
    try:
        with open("/proc/net/ipv6_route", encoding="utf-8", errors="surrogateescape") as file:
            routes6 = file.read(_LONGEST)
    except FileNotFoundError:
        routes6 = ""  # this machine has no IPv6
    except OSError:
        return None
    if max(len(routes4), len(routes6)) >= _LONGEST:
        return None
    return frozenset([*parse_ipv4(routes4), *parse_ipv6(routes6)])


def parse_ipv4(table: str) -> Iterator[Route]:
    """The routes of /proc/net/route, whose addresses are numbers in this machine's byte order."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        try:
            interface, destination, gateway, flags = fields[0], fields[1], fields[2], int(fields[3], 16)
            bits = int(fields[7], 16).bit_count()
            if not flags & _RTF_REJECT:
                yield Route(interface, _packed(destination), bits, _gateway(_packed(gateway)))
        except (IndexError, ValueError, OverflowError):
            continue


def _packed(number: str) -> bytes:
    return int(number, 16).to_bytes(4, sys.byteorder)


def parse_ipv6(table: str) -> Iterator[Route]:
    """The routes of /proc/net/ipv6_route, whose addresses are in network order."""
    for line in table.splitlines():
        fields = line.split()
        try:
            flags, interface = int(fields[8], 16), fields[9]
            if flags & (_RTF_REJECT | _RTF_ANYCAST | _RTF_CACHE | _RTF_LOCAL) or interface == "lo":
                continue
            destination, gateway = bytes.fromhex(fields[0]), bytes.fromhex(fields[4])
            if not is_nearby(destination):
                yield Route(interface, destination, int(fields[1], 16), _gateway(gateway))
        except (IndexError, ValueError):
            continue


def _gateway(packed: bytes) -> bytes:
    return packed if any(packed) else b""


def is_nearby(packed: bytes) -> bool:
    """Whether an address is link-local or a group's: every interface has routes to those."""
    if len(packed) == 4:
        return packed[:2] == b"\xa9\xfe" or packed[0] >= 224
    return len(packed) > 1 and (packed[0] == 0xFF or (packed[0] == 0xFE and packed[1] & 0xC0 == 0x80))
