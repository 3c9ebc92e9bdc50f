"""Who has a local port or Unix socket that we want, in words. Looks only; touches nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from jtunnel.address import Address, UnixAddress

#: What a socket on every address of its family is bound to.
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104


@dataclass(frozen=True, slots=True)
class _Socket:
    """One row of the machine's table of sockets; `local` is (host, port) or a path."""

    local: tuple[str, int] | str
    listening: bool
    pid: int | None


def find_holder(address: Address) -> str:
    """Name the process that listens there: `python3 (pid 123)`, or as much as may be known.

    Reads the whole table of sockets, which can take a second: call it in a thread.
    """
    found = _unix_sockets(address.path) if isinstance(address, UnixAddress) else _tcp_sockets(address.port)
    host = None if isinstance(address, UnixAddress) else address.host or "127.0.0.1"
    found.sort(key=lambda row: _distance(row, host))
    for row in found:
        if row.pid is not None and _distance(row, host) == _distance(found[0], host):
            return _describe(row.pid)
    return "a process of another user" if found else "a process that cannot be named"


def _unix_sockets(path: str) -> list[_Socket]:
    return [row for row in _sockets("unix") if row.local == path]


def _tcp_sockets(port: int) -> list[_Socket]:
    return [row for row in _sockets("tcp") if isinstance(row.local, tuple) and row.local[1] == port]


def _distance(row: _Socket, host: str | None) -> int:
    """Who is in our way: first the listener on that very address, last who merely uses the port."""
    if isinstance(row.local, str):
        return 0
    if not row.listening:
        return 3
    return 0 if row.local[0] == host else 1 if row.local[0] in _WILDCARDS else 2


def _sockets(kind: str) -> Iterator[_Socket]:
    """All sockets of a kind; macOS shows an ordinary user only those of their own processes."""
    try:
        for entry in psutil.net_connections(kind):
            yield _Socket(_local(entry.laddr), entry.status == psutil.CONN_LISTEN, entry.pid)
    except psutil.AccessDenied:
        for process in psutil.process_iter():
            try:
                # psutil 6 renamed the method.
                list_sockets = getattr(process, "net_connections", None) or process.connections
                owned = list_sockets(kind)
            except psutil.Error:
                continue
            for row in owned:
                yield _Socket(_local(row.laddr), row.status == psutil.CONN_LISTEN, process.pid)


def _local(laddr: tuple[str, int] | tuple[()] | str) -> tuple[str, int] | str:
    """Psutil's local address, where an unbound socket's is an empty tuple."""
    return laddr or ""


def _describe(pid: int) -> str:
    if pid == os.getpid():
        return f"another forward of this daemon (pid {pid})"
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"pid {pid}"
