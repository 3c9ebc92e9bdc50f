"""What clients may ask about remote servers, as calls: list, adopt, set up, renew, stop; their logs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Final

from jtunnel.config.profile import JupyterOptions
from jtunnel.daemon.manager import Manager
from jtunnel.daemon.whole import Works
from jtunnel.errors import ConfigError, ControlError, JTunnelError
from jtunnel.jupyter.adopting import adopt
from jtunnel.jupyter.listing import list_servers
from jtunnel.jupyter.setup.run import run_setup
from jtunnel.jupyter.stop import stop_other
from jtunnel.service.log import read_log
from jtunnel.service.server import Server
from jtunnel.ssh.connection import Connection
from jtunnel.tunnel.life import Tunnel
from jtunnel.tunnel.phase import Down, Resting

_MOST_LINES: Final = 10_000


class ServerCalls:
    """The control protocol's methods for servers; each raises JTunnelError in a person's words."""

    def __init__(self, manager: Manager, works: Works) -> None:
        self._manager = manager
        self._works = works

    async def stop(self, name: str, force: bool = False, pid: int | None = None) -> dict[str, Any]:
        """Shut a tunnel's server down, unless kernels are busy; then the tunnel goes down too.

        With `pid`, it is another server of this user's on that host, and the tunnel stays as it is.
        """
        tunnel = self._manager.tunnel(name)
        current = tunnel.server.current if tunnel.server else None
        if pid is not None and not (current and current.pid == pid and tunnel.connection):
            async with self._visit(name) as connection:
                return await stop_other(connection, _options(tunnel), name, pid, force)
        tunnel, connection, server = self.live_server(name, "stop its server")
        assert tunnel.server is not None
        service = tunnel.server.service
        try:
            busy = 0 if force else await service.busy(connection, server)
            if busy != 0:
                return {"stopped": False, "busy": busy}
            await service.stop(connection, server)
        except TimeoutError:
            raise _too_slow(tunnel) from None
        await self._works.whole(self._manager.down([name]))
        return {"stopped": True, "pid": server.pid}

    async def restart_server(self, name: str, force: bool = False) -> dict[str, Any]:
        """Put a new server in place of a tunnel's, unless kernels are busy; answers when that has begun."""
        tunnel, connection, server = self.live_server(name, "restart its server")
        assert tunnel.server is not None
        service = tunnel.server.service
        if not service.may_start:
            raise ControlError(
                "not-up",
                f"{name} only adopts a server, and would have none then",
                'set start = "if-absent" in its table, or restart the server there',
            )
        if not server.pid:
            raise ControlError(
                "not-up",
                f"the {service.noun} on {server.host} is not a process of yours",
                "restart it there, as its owner",
            )
        try:
            busy = 0 if force else await service.busy(connection, server)
            if busy != 0:
                return {"stopped": False, "busy": busy}
        except TimeoutError:
            raise _too_slow(tunnel) from None
        await self._works.whole(tunnel.change_server(connection, end_present=True))
        return {"stopped": True, "pid": server.pid}

    async def servers(self, name: str) -> dict[str, Any]:
        """The Jupyter servers that run for this user on a tunnel's host."""
        tunnel = self._manager.tunnel(name)
        async with self._visit(name) as connection:
            listing = await list_servers(connection, _options(tunnel), name)
        return dict(listing)

    async def adopt(self, name: str, which: str) -> dict[str, Any]:
        """Use a server that runs there already, now and next time."""
        tunnel = self._manager.tunnel(name)
        if tunnel.profile.service is not None:
            raise ConfigError(
                "usage",
                f"{name} has a service: what listens at its place is adopted by itself",
                f"bring it up with: jtunnel up {name}",
            )
        if tunnel.profile.jupyter is None:
            raise ConfigError(
                "usage", f"{name} has no jupyter table", f"add [profiles.{name}.jupyter] with: jtunnel edit"
            )
        async with self._visit(name) as connection:
            server = await adopt(connection, tunnel.profile.jupyter, name, which)
        if tunnel.connection is not None:
            await self._works.whole(tunnel.change_server(tunnel.connection, end_present=False))
        return {
            "pid": server.pid,
            "host": server.host,
            "target": str(server.target),
            "version": server.version,
            "root_dir": server.root_dir,
            "wanted": not isinstance(tunnel.phase, Down),
        }

    async def setup(
        self, name: str, wishes: Mapping[str, Any] | None = None, password: str = "", apply: bool = False
    ) -> dict[str, Any]:
        """Show, or make, the config by which Jupyter on a tunnel's host serves without jtunnel too."""
        # With its connection: a client that leaves must not take that away while files are written.
        return await self._works.whole(self._set_up(name, wishes or {}, password, apply))

    async def _set_up(
        self, name: str, wishes: Mapping[str, Any], password: str, apply: bool
    ) -> dict[str, Any]:
        tunnel = self._manager.tunnel(name)
        async with self._visit(name) as connection:
            host = tunnel.profile.host
            return await run_setup(connection, _options(tunnel), name, host, wishes, password, apply)

    async def remote_log(self, name: str, lines: int = 100, position: str | None = None) -> dict[str, Any]:
        """The end of the remote server's log, or what was added to it since `position`."""
        tunnel = self._manager.tunnel(name)
        server = tunnel.server.current if tunnel.server else None
        adopted = server.pid if server and server.origin == "adopted" else None
        key = tunnel.server.service.key if tunnel.server else name
        if not isinstance(tunnel.phase, Down | Resting):
            # Who follows a log asks every second: a connection that is lost is not to be hurried by that.
            _check_connected(tunnel)
        async with self._visit(name) as connection:
            part = await read_log(
                connection, key, max(1, min(lines, _MOST_LINES)), position=position, pid=adopted
            )
        return asdict(part)

    def live_server(self, name: str, purpose: str) -> tuple[Tunnel, Connection, Server]:
        """A tunnel with its connection and its server; ControlError `not-up` where one is missing."""
        tunnel = self._manager.tunnel(name)
        if tunnel.server is None:
            raise ControlError(
                "not-up", f"{name} has no remote server", f"it has forwards only: jtunnel status {name}"
            )
        connection = _live_connection(tunnel, purpose)
        server, (state, error) = tunnel.server.current, tunnel.state
        if server is None or tunnel.server.state not in ("ready", "not-answering"):
            if state == "blocked" and error is not None:
                raise ControlError("not-up", f"{name} is blocked: {error.message}", error.advice)
            raise ControlError(
                "not-up",
                f"the {tunnel.server.service.noun} server of {name} is not up yet",
                f"wait for it with: jtunnel up {name}",
            )
        return tunnel, connection, server

    @asynccontextmanager
    async def _visit(self, name: str) -> AsyncIterator[Connection]:
        tunnel = self._manager.tunnel(name)
        try:
            async with self._manager.visit(name) as connection:
                yield connection
        except TimeoutError:
            raise _too_slow(tunnel) from None


def _options(tunnel: Tunnel) -> JupyterOptions:
    return tunnel.profile.jupyter or JupyterOptions()


def _too_slow(tunnel: Tunnel) -> JTunnelError:
    return JTunnelError(
        "not-up",
        f"{tunnel.profile.host} did not answer in time",
        f"see `jtunnel status {tunnel.profile.name}`",
    )


def _check_connected(tunnel: Tunnel) -> None:
    """Raise ControlError where the log cannot be read now; what blocks the tunnel may be in that very log."""
    if tunnel.connection is None:
        name, (state, error) = tunnel.profile.name, tunnel.state
        why = f": {error.message}" if state == "retrying" and error else ""
        raise ControlError(
            "not-up",
            f"{name} is not connected now{why}",
            f"bring it up to read its log: jtunnel up {name}",
        )


def _live_connection(tunnel: Tunnel, purpose: str) -> Connection:
    connection = tunnel.connection
    if connection is None:
        name = tunnel.profile.name
        state, error = tunnel.state
        if error is not None:
            raise ControlError("not-up", f"{name} is {state}: {error.message}", error.advice)
        raise ControlError(
            "not-up", f"{name} is not connected and cannot {purpose}", f"connect with: jtunnel up {name}"
        )
    return connection
