"""Reads what a script said of listening sockets: the kernel's tables, lsof's list, modes of socket files."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from jtunnel.service.script import Report

LOOPBACK: Final = "127.0.0.1"

Place = tuple[str, int]


def read_listeners(report: Report, uid: int) -> dict[Place, int] | None:
    """(address, port) → uid of the owner; None where the remote cannot tell."""
    source = report.one("listeners")
    if source is None:
        return None
    listeners = {}
    for line in report.all("listen"):
        local, owner, *_ = line.split(" ")
        listeners[_kernel_address(local)] = int(owner)
    for line in report.all("lsof"):
        host, _, port = line.rpartition(":")
        # lsof's `*` does not tell the family; both are this user's.
        for name in ("0.0.0.0", "::") if host == "*" else (host.strip("[]"),):  # noqa: S104
            listeners[name, int(port)] = uid
    return listeners


def read_inodes(report: Report) -> dict[Place | str, frozenset[str]]:
    """(address, port), or a Unix socket's path → the kernel's numbers of the sockets that listen there."""
    found: dict[Place | str, frozenset[str]] = {}
    for line in report.all("listen"):
        local, _, *inode = line.split(" ")
        place = _kernel_address(local)
        found[place] = found.get(place, frozenset()) | frozenset(inode)
    for line in report.all("unix"):
        number, _, path = line.partition(" ")
        found[path] = found.get(path, frozenset()) | {number}
    return found


def read_held(lines: Iterable[str]) -> dict[int, frozenset[str]]:
    """Process → the kernel's numbers of the sockets that it holds."""
    return {
        int(pid): frozenset(numbers.split()) for pid, _, numbers in (line.partition(" ") for line in lines)
    }


def read_socket(line: str, uid: int) -> tuple[str, bool]:
    """Ours is a socket that we own, in a directory where nobody else could put another in its place."""
    mode, owner, dir_mode, dir_owner, path = line.split(" ", 4)
    others_write = dir_mode[5] == "w" or dir_mode[8] == "w"
    safe_place = dir_owner in (str(uid), "0") and (not others_write or dir_mode[9] in "tT")
    return path, mode.startswith("s") and owner == str(uid) and safe_place


def read_socket_owner(line: str) -> tuple[str, int]:
    """The path of a Unix socket and its owner's uid."""
    _, owner, _, _, path = line.split(" ", 4)
    return path, int(owner)


def _kernel_address(local: str) -> Place:
    """Read `0100007F:22B8` of /proc/net/tcp (proc(5)): 32-bit words in the byte order of the machine."""
    digits, _, port = local.partition(":")
    words = bytes.fromhex(digits)
    little = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    big_endian = words in (IPv4Address(LOOPBACK).packed, IPv6Address("::1").packed)
    data = words if big_endian else little
    return str(IPv4Address(data) if len(data) == 4 else _plain_v6(data)), int(port, 16)


def _plain_v6(data: bytes) -> str:
    address = IPv6Address(data)
    return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)
