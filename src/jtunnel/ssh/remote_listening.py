"""Listens on the remote host over one connection, and takes in the channels that come of it.

asyncssh's own way knows a port only some time after the server's answer: a channel that comes right
behind that is refused, or given to another forward. So the route is set here, before the server is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

import asyncssh
from asyncssh.constants import MSG_REQUEST_SUCCESS
from asyncssh.packet import String, UInt32

from jtunnel.address import Address, TcpAddress
from jtunnel.ssh.channel import ArrivedSession

#: Bytes that may be under way on a channel that the far side opened, and in one of its packets.
_WINDOW: Final = 2 * 1024 * 1024
_PACKET: Final = 32768

#: What asyncssh finds the taker of a channel by: the host and port asked for, or the path.
_Route = tuple[str, int] | str


class RefusedError(Exception):
    """The server said no, or the connection is gone."""


class Listening:
    """One port or socket over there (`RemoteListening`). `accept` makes the session of each channel."""

    def __init__(
        self,
        ssh: asyncssh.SSHClientConnection,
        address: Address,
        accept: Callable[[], Coroutine[Any, Any, ArrivedSession]],
    ) -> None:
        self.address = address
        self.is_over = False
        self._ssh = ssh
        self._accept = accept
        self._asked = _as_ssh_asks(address)
        self._routes: set[_Route] = set()

    async def ask(self) -> None:
        """Ask the server for it; raises RefusedError."""
        asked = self._asked
        self._add_route(asked)
        kind, packet = await self._request("", asked)
        if kind != MSG_REQUEST_SUCCESS:
            self._remove_routes()
            raise RefusedError
        if isinstance(asked, tuple) and not asked[1]:
            host, port = asked[0], packet.get_uint32()
            # The first route stays: some servers name the port that was asked for with each channel.
            self._asked = host, port
            self._add_route(self._asked)
            assert isinstance(self.address, TcpAddress)
            self.address = TcpAddress(self.address.host, port)

    async def give_back(self) -> None:
        """See `RemoteListening`; what arrives until the answer is still taken in."""
        if self.is_over:
            return
        self.is_over = True
        try:
            await self._request("cancel-", self._asked)
        except (asyncssh.Error, OSError, AssertionError):
            pass  # gone with the connection; the last as in `Connection.run`
        finally:
            self._remove_routes()

    def close(self) -> None:
        """Called by asyncssh: the connection is gone."""
        self.is_over = True

    def process_connection(self, *_origin: object) -> Any:
        """Asked by asyncssh, which found it by its route, for a channel and its session."""
        make = (
            self._ssh.create_tcp_channel
            if isinstance(self.address, TcpAddress)
            else self._ssh.create_unix_channel
        )
        return make(None, "strict", _WINDOW, _PACKET), self._accept()

    async def _request(self, prefix: str, route: _Route) -> tuple[int, Any]:
        if isinstance(route, tuple):
            name, words = "tcpip-forward", [String(route[0]), UInt32(route[1])]
        else:
            name, words = "streamlocal-forward@openssh.com", [String(route)]
        return await self._ssh._make_global_request(f"{prefix}{name}".encode(), *words)  # noqa: SLF001

    @property
    def _taken(self) -> dict[_Route, Any]:
        return self._ssh._remote_listeners  # noqa: SLF001

    def _add_route(self, route: _Route) -> None:
        self._taken[route] = self
        self._routes.add(route)

    def _remove_routes(self) -> None:
        for route in self._routes:
            # Another may have asked for it since we gave it back.
            if self._taken.get(route) is self:
                del self._taken[route]
        self._routes.clear()


def _as_ssh_asks(address: Address) -> _Route:
    """As ssh(1) puts it: `localhost` is the loopback of both families, nothing is every address."""
    if not isinstance(address, TcpAddress):
        return address.path
    host = address.host.lower() or "localhost"
    return "" if host in ("*", "0.0.0.0") else host, address.port  # noqa: S104
