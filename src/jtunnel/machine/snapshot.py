"""What this machine's network is at one time: what packets can use. Does not say what changed.

Addresses other than loopback, link-local and tentative ones, and routes, on interfaces with a carrier.
"""

from __future__ import annotations

import functools
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import psutil

from jtunnel.machine.path import (
    LINK_LOCAL,
    has_address,
    interface_flags,
    is_loopback,
    is_running,
    source_to,
)
from jtunnel.machine.route_socket import read_sysctl_routes
from jtunnel.machine.routes import Route, read_proc_routes

#: Addresses that are nobody's (RFC 5737, RFC 3849): the way there is the way out. Nothing is sent.
_OUTSIDE4: Final = "203.0.113.1"
_OUTSIDE6: Final = "2001:db8::1"


class Address(NamedTuple):
    """An IP address of this machine."""

    ip: str
    interface: str

    def __str__(self) -> str:
        return f"{self.ip} on {self.interface}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The network at one time; None is what could not be read."""

    addresses: frozenset[Address] | None = None
    #: Interfaces that have an address and no carrier; their addresses do not count.
    resting: frozenset[str] = frozenset()
    routes: frozenset[Route] | None = None
    #: Where packets to the outside come from, over IPv4 and IPv6; empty: there is no way out.
    source4: str | None = None
    source6: str | None = None
    #: The interfaces of every address, also of those that do not count.
    owners: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)

    def completed(self, before: Snapshot) -> Snapshot:
        """This one, with what could not be read taken from the one before."""
        if self.addresses is None and before.addresses is not None:
            return before  # out of descriptors, say: the rest means little without them
        return replace(
            self,
            routes=before.routes if self.routes is None else self.routes,
            source4=before.source4 if self.source4 is None else self.source4,
            source6=before.source6 if self.source6 is None else self.source6,
        )


def take_snapshot() -> Snapshot:
    """Look at the network now; some tenths of a millisecond, 20 ms where there are 600 interfaces."""
    flags_of = functools.cache(interface_flags)
    owners, wires = read_addresses()
    addresses = set()
    resting = set()
    for ip, names in (owners or {}).items():
        for name in names:
            flags = flags_of(name)
            if ip.startswith(LINK_LOCAL) or is_loopback(flags):
                continue
            if not is_running(flags):
                resting.add(name)
            # IPv6 takes a second or two to make sure of an address; until then it cannot be used.
            elif ":" not in ip or has_address(ip):
                addresses.add(Address(ip, name))
    routes = read_sysctl_routes() if sys.platform == "darwin" else read_proc_routes()
    if routes is not None:
        routes = frozenset(
            route
            for route in routes
            # The route to an interface's own network comes and goes with its address.
            if (route.gateway or owners is not None)
            and (route.interface, route.destination, route.bits) not in wires
            and is_running(flags := flags_of(route.interface))
            and not is_loopback(flags)
        )
    return Snapshot(
        addresses=None if owners is None else frozenset(addresses),
        resting=frozenset(resting),
        routes=routes,
        source4=_source(_OUTSIDE4, owners or {}, resting),
        source6=_source(_OUTSIDE6, owners or {}, resting),
        owners=owners or {},
    )


def read_addresses() -> tuple[dict[str, tuple[str, ...]] | None, set[tuple[str, bytes, int]]]:
    """The interfaces of each IP address of this machine, None where unreadable, and their own networks."""
    owners: dict[str, tuple[str, ...]] = {}
    wires: set[tuple[str, bytes, int]] = set()
    try:
        for label, entries in psutil.net_if_addrs().items():
            # An alias such as eth0:1 is no interface of its own.
            name = label.partition(":")[0]
            for entry in entries:
                if entry.family in {socket.AF_INET, socket.AF_INET6} and entry.address:
                    ip = entry.address.partition("%")[0]
                    owners[ip] = (*owners.get(ip, ()), name)
                    wires.add((name, *_network(entry.family, ip, entry.netmask)))
    except (OSError, ValueError, psutil.Error):
        return None, set()
    return owners, wires


def _network(family: int, ip: str, netmask: str | None) -> tuple[bytes, int]:
    """The network of an address, packed, and the bits of its mask."""
    packed = socket.inet_pton(family, ip)
    mask = socket.inet_pton(family, netmask) if netmask else b"\xff" * len(packed)
    bits = int.from_bytes(mask)
    return (int.from_bytes(packed) & bits).to_bytes(len(packed)), bits.bit_count()


def _source(outside: str, owners: Mapping[str, tuple[str, ...]], resting: set[str]) -> str | None:
    try:
        found = source_to(outside)
    except OSError:
        return None
    if found is None:
        return ""
    names = owners.get(found[0], ())
    return "" if names and resting.issuperset(names) else found[0]
