"""How packets would leave now, asked of the kernel without sending any, and which interfaces can carry them.

Asks nothing that waits for the kernel's configuration lock, so that it may be called at any time.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

_SIOCGIFFLAGS: Final = 0xC0206911 if sys.platform == "darwin" else 0x8913
_IFF_UP, _IFF_LOOPBACK, _IFF_RUNNING = 0x1, 0x8, 0x40
_LOOPBACK: Final = "lo0" if sys.platform == "darwin" else "lo"
#: How the text of such an address begins.
LINK_LOCAL: Final = ("169.254.", "fe8", "fe9", "fea", "feb")
#: Any port: a connected UDP socket sends nothing.
_PORT: Final = 9


@dataclass(frozen=True, slots=True)
class Path:
    """How packets to a peer leave; `interface` is empty where it cannot be told."""

    source: str
    interface: str


def interface_flags(name: str) -> int | None:
    """The flags of an interface (netdevice(7)); None where they cannot be read, 0 where there is none."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16s24x", os.fsencode(name)[:15]))
    except OSError as problem:
        return 0 if problem.errno in {errno.ENODEV, errno.ENXIO} else None
    (flags,) = struct.unpack_from("=H", answer, 16)
    return int(flags)


def is_running(flags: int | None) -> bool:
    """Whether flags say up and with a carrier; where there is no such thing (tun), the kernel says so too."""
    wanted = _IFF_UP | _IFF_RUNNING
    return flags is None or flags & wanted == wanted


def is_loopback(flags: int | None) -> bool:
    """Whether flags say that the interface leads nowhere but here."""
    return flags is not None and bool(flags & _IFF_LOOPBACK)


def source_to(peer: str) -> tuple[str, str] | None:
    """Where packets to an IP address come from, and the interface if its scope names one; None: no route.

    Raises OSError where no socket can be had.
    """
    try:
        sock = _socket(peer)
    except OSError as problem:
        if problem.errno == errno.EAFNOSUPPORT:
            return None  # a machine without IPv6
        raise
    with sock:
        try:
            sock.connect(_sockaddr(peer, _PORT))
            name = sock.getsockname()
        except (OSError, ValueError, OverflowError):
            return None
    source = str(name[0]).partition("%")[0]
    if source.startswith(LINK_LOCAL) and not peer.startswith(LINK_LOCAL):
        return None  # a default route without an address to use it from: nobody could answer
    interface = ""
    if sock.family == socket.AF_INET6 and name[3]:
        try:
            interface = socket.if_indextoname(name[3])
        except OSError:
            return None
    return source, interface


def has_address(address: str) -> bool:
    """Whether this machine has that address and may use it; where that cannot be told, it has."""
    ip = _canonical(address)
    if ip is None:
        return True
    try:
        with _socket(ip) as sock:
            sock.bind(_sockaddr(ip, port=0))
    except OSError as problem:
        return problem.errno not in {errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENXIO}
    except (ValueError, OverflowError):
        return True
    return True


def find_path(peer: str, owners: Callable[[str], Iterable[str]]) -> Path | None:
    """The path to an IP address; `owners` names the interfaces that have a local address."""
    ip = _canonical(peer)
    if ip is None:
        return None
    if ipaddress.ip_address(ip).is_loopback:
        return Path(ip, _LOOPBACK)
    try:
        found = source_to(ip)
    except OSError:
        # Out of descriptors, say: that is no reason to take the network for lost.
        return Path("", "")
    if found is None:
        return None
    source, interface = found
    names = [interface] if interface else list(owners(source))
    if source == ip.partition("%")[0]:
        return Path(source, names[0] if names else _LOOPBACK)  # this machine itself
    if not names:
        return Path(source, "")
    return next((Path(source, name) for name in names if is_running(interface_flags(name))), None)


def _canonical(text: str) -> str | None:
    """An IP address as the kernel writes it, with its scope; None for all else: no name is looked up."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _socket(ip: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)


def _sockaddr(ip: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """The numeric address for a socket; raises OSError where its scope is no interface."""
    host, _, scope = ip.partition("%")
    if ":" not in host:
        return host, port
    return host, port, 0, int(scope) if scope.isdecimal() else socket.if_nametoindex(scope) if scope else 0
