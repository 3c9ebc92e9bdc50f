"""The listening sockets of one local forward: bound, and removed again; or why that cannot be.

Accepts nothing: `listener` does. A file that is not a dead socket is never removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.errors import ListenerError
from jtunnel.forward.holder import find_holder
from jtunnel.paths import MAX_SOCKET_PATH

#: Connections that the kernel keeps while nobody accepts them.
_BACKLOG = 512
#: Seconds for a name to be looked up, and for the holder of a busy port to be found.
_LOOKUP_S = 5.0

#: What the listening side may say instead of one address → the addresses meant; the first is a must.
_LOOPBACK = ("127.0.0.1", "::1")
_NAMED_HOSTS = {"": _LOOPBACK, "localhost": _LOOPBACK, "*": ("0.0.0.0", "::")}  # noqa: S104
#: What binding says where the machine has no such address, or not even its family.
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(frozen=True, slots=True)
class Binding:
    """Open listening sockets, where they listen, and for a Unix socket the file's device and inode."""

    sockets: tuple[socket.socket, ...]
    addresses: tuple[Address, ...]
    inode: tuple[int, int] | None = None

    def close(self) -> None:
        """Close all; a socket file goes too, unless somebody has put another in its place."""
        # Before the sockets are closed: only till then is the inode's number certainly ours.
        for address in self.addresses:
            if isinstance(address, UnixAddress) and _inode(address.path) == self.inode:
                with contextlib.suppress(OSError):
                    os.unlink(address.path)
        for sock in self.sockets:
            sock.close()


async def bind(forward: str, listen: Address) -> Binding:
    """Listen there for the forward of that name; port 0 takes any that is free on the first address.

    Raises ListenerError, whose message names who has the port.
    """
    if isinstance(listen, TcpAddress):
        return await _bind_tcp(forward, listen)
    sock = await _bind_unix(forward, listen)
    return Binding((sock,), (listen,), _inode(listen.path))


async def _bind_tcp(forward: str, listen: TcpAddress) -> Binding:
    sockets: list[socket.socket] = []
    port = listen.port
    for family, host in await _find_hosts(forward, listen):
        try:
            sock = _open_tcp(family, host, port)
        except OSError as error:
            if sockets and error.errno in _NO_SUCH_ADDRESS:
                continue
            # A port that somebody else has on another of the addresses would get what is meant for us,
            # tokens included: better none than some.
            for opened in sockets:
                opened.close()
            raise await _tcp_refusal(forward, TcpAddress(host, port), error) from None
        sockets.append(sock)
        port = sock.getsockname()[1]
    return Binding(tuple(sockets), tuple(TcpAddress(*sock.getsockname()[:2]) for sock in sockets))


async def _find_hosts(forward: str, listen: TcpAddress) -> list[tuple[socket.AddressFamily, str]]:
    """The numeric addresses of the listening side; the machine may lack all but the first."""
    if hosts := _NAMED_HOSTS.get(listen.host):
        return [(socket.AF_INET, hosts[0]), (socket.AF_INET6, hosts[1])]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_LOOKUP_S):
            found = await loop.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # not found, not found in time, or no host name at all
        raise ListenerError(
            "port-in-use",
            f'the address of "{listen.host}" cannot be found, so nothing can listen there',
            f"let {_name(forward)} listen on 127.0.0.1",
        ) from None
    return [(family, str(sockaddr[0])) for family, _, _, _, sockaddr in found]


def _open_tcp(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # So that connections of an earlier daemon in TIME_WAIT do not block the port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


async def _tcp_refusal(forward: str, address: TcpAddress, error: OSError) -> ListenerError:
    where = f"port {address.port} on {address.host}"
    match error.errno:
        case errno.EADDRINUSE:
            message = f"{where} is taken by {await _find_holder(address)}"
            advice = f"end that program, or {_choose_port(forward)}"
        case errno.EACCES | errno.EPERM:
            message = f"{where} is reserved for root"
            advice = f"{_choose_port(forward)}, 1024 or higher"
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            message = f"{address.host} is not an address of this machine"
            advice = f"let {_name(forward)} listen on 127.0.0.1"
        case _:
            message = f"{where} cannot be opened: {os.strerror(error.errno or 0).lower()}"
            advice = _choose_port(forward)
    return ListenerError("port-in-use", message, advice)


async def _bind_unix(forward: str, listen: UnixAddress) -> socket.socket:
    path = listen.path
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise ListenerError(
            "port-in-use",
            f"the path {path} is too long for a socket ({MAX_SOCKET_PATH} bytes at most)",
            f"give {_name(forward)} a shorter one",
        )
    try:
        _make_directory(os.path.dirname(path))
        return _open_unix(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise _unix_refusal(forward, path, error) from None
    try:
        if _is_dead(path):
            os.unlink(path)
            return _open_unix(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise _unix_refusal(forward, path, error) from None
    raise await _busy(forward, listen)


def _make_directory(path: str) -> None:
    """Make what is missing of a path, 0700, below a directory of the user's that nobody else may fill.

    Elsewhere nothing is made: somebody else might have plans for the name.
    """
    missing = []
    while path and not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    found = os.stat(path or ".")
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        return
    for directory in reversed(missing):
        os.mkdir(directory, 0o700)


def _open_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The file must never be open to others, not even between bind and a chmod.
    umask = os.umask(0o177)
    try:
        sock.setblocking(False)
        sock.bind(path)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(umask)
    return sock


def _is_dead(path: str) -> bool:
    """Whether it is a socket file that no process serves any more."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        # Another answer (a full backlog, another user's, not a stream socket) comes from a live one.
        return probe.connect_ex(path) == errno.ECONNREFUSED


async def _busy(forward: str, listen: UnixAddress) -> ListenerError:
    path = listen.path
    other = f"give {_name(forward)} another path"
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        is_socket = True
    if not is_socket:
        return ListenerError("port-in-use", f"{path} exists and is not a socket", f"move it away, or {other}")
    holder = await _find_holder(listen)
    return ListenerError(
        "port-in-use", f"the socket {path} is taken by {holder}", f"end that program, or {other}"
    )


def _unix_refusal(forward: str, path: str, error: OSError) -> ListenerError:
    parent = os.path.dirname(path) or "."
    other = f"let {_name(forward)} listen elsewhere"
    match error.errno:
        case errno.ENOENT:
            return ListenerError("port-in-use", f"there is no directory {parent}", f"make it, or {other}")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return ListenerError("port-in-use", f"no file may be made in {parent}", other)
        case number:
            reason = os.strerror(number or 0).lower()
            return ListenerError("port-in-use", f"the socket {path} cannot be made: {reason}", other)


async def _find_holder(address: Address) -> str:
    try:
        async with asyncio.timeout(_LOOKUP_S):
            return await asyncio.to_thread(find_holder, address)
    except TimeoutError:
        return "a process that cannot be named"


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _name(forward: str) -> str:
    return f'forward "{forward}"'


def _choose_port(forward: str) -> str:
    if forward == "jupyter":
        return "set another local_port in the profile's jupyter table"
    return f"give {_name(forward)} another port to listen on"
