"""What clients may ask for, as calls: the one road from the control socket to manager and tunnels."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any, Final

from jtunnel.changes import Changes
from jtunnel.config.values import NAME_PATTERN
from jtunnel.daemon.board import Board
from jtunnel.daemon.manager import AskAbout, Manager
from jtunnel.daemon.pages import Pages
from jtunnel.daemon.selection import matching
from jtunnel.daemon.servers import ServerCalls
from jtunnel.daemon.temporary import KINDS
from jtunnel.daemon.whole import Works
from jtunnel.errors import ConfigError, ControlError, one_line
from jtunnel.status import ForwardStatus, StatusDocument
from jtunnel.telling.teller import Teller
from jtunnel.tunnel.phase import Down
from jtunnel.tunnel.report import report_tunnel

#: Seconds in which a forward that is added shows how it fares.
_FORWARD_S: Final = 12.0


class Commands:
    """The control protocol's methods; each raises JTunnelError in a person's words."""

    def __init__(
        self, manager: Manager, teller: Teller, board: Board, pages: Pages, stopping: asyncio.Event
    ) -> None:
        self._manager = manager
        self._teller = teller
        self._board = board
        self._pages = pages
        self._stopping = stopping
        self._works = Works()
        self.servers = ServerCalls(manager, self._works)

    @property
    def changes(self) -> Changes:
        """Counts every change of the status."""
        return self._board.changes

    def match(self, names: Sequence[str] | None, tags: Sequence[str] | None) -> list[str] | None:
        """The profiles that are looked at; None for all. Raises ConfigError where a word means none."""
        return self._manager.select(names or (), tags or ()) if names or tags else None

    def show(self, names: Sequence[str] | None, tags: Sequence[str] | None = None) -> StatusDocument:
        """The status of all or some tunnels; those that are gone by now are left out."""
        if not names and not tags:
            return self._board.show()
        return self._board.show(matching(self._manager.profiles, names or (), tags or ()))

    async def status(self, names: list[str] | None = None, tags: list[str] | None = None) -> StatusDocument:
        """The status document."""
        self.match(names, tags)
        return self.show(names, tags)

    async def history(self, names: list[str] | None = None, tags: list[str] | None = None) -> dict[str, Any]:
        """Past outages, and how much of a day and a week tunnels were up."""
        chosen = self.match(names, tags)
        return self._teller.history(list(self._manager.profiles) if chosen is None else chosen)

    async def forward(
        self, name: str, spec: str, kind: str = "local", label: str | None = None
    ) -> ForwardStatus:
        """Add a forward to a tunnel that is wanted; answers when it listens or has failed."""
        if kind not in KINDS:
            raise ConfigError("usage", f"there is no kind of forward {kind!r}", f"one of: {', '.join(KINDS)}")
        if label is not None and not re.fullmatch(NAME_PATTERN, label):
            raise ConfigError(
                "usage",
                f"{one_line(label[:64])!r} is no name for a forward",
                "take letters, digits, dots, underscores and hyphens, 64 at most",
            )
        tunnel = self._manager.tunnel(name)
        if isinstance(tunnel.phase, Down):
            raise ControlError("not-up", f"{name} is down", f"bring it up first: jtunnel up {name}")
        adding = self._manager.add_forward(name, spec, KINDS[kind], label)
        added = await self._works.whole(adding)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FORWARD_S):
                await tunnel.forwards.wait_known(added.name)
        for forward in report_tunnel(tunnel, wanted=True)["forwards"]:
            if forward["name"] == added.name:
                return forward
        raise ControlError("not-up", f"{name} was taken down meanwhile", f"bring it up: jtunnel up {name}")

    async def unforward(self, name: str, spec: str | None = None) -> dict[str, Any]:
        """Take away forwards that were added so."""
        return {"removed": await self._works.whole(self._manager.remove_forwards(name, spec))}

    async def rename(self, name: str, to: str) -> dict[str, Any]:
        """The next config has this profile by another name."""
        self._manager.note_rename(name, to)
        return {}

    async def select(
        self,
        names: Sequence[str] = (),
        tags: Sequence[str] = (),
        all: bool = False,  # noqa: A002
    ) -> list[str]:
        """The profiles a command means, after a look at whether the config has been edited."""
        await self._works.whole(self._manager.refresh())
        return self._manager.select(names, tags, every=all)

    def attended(self, names: Sequence[str], ask: AskAbout) -> AbstractContextManager[None]:
        """See `Manager.attended`."""
        return self._manager.attended(names, ask)

    async def up(self, names: list[str]) -> dict[str, Any]:
        """Want tunnels up."""
        await self._works.whole(self._manager.up(names))
        return {"names": names}

    async def restart(self, names: list[str]) -> dict[str, Any]:
        """Renew the links of tunnels, and say which others that touches."""
        return {"names": names, "also": await self._works.whole(self._manager.restart(names))}

    async def down(
        self,
        names: Sequence[str] = (),
        tags: Sequence[str] = (),
        all: bool = False,  # noqa: A002
    ) -> dict[str, Any]:
        """Drop tunnels."""
        chosen = self._manager.select(names, tags, every=all)
        await self._works.whole(self._manager.down(chosen))
        return {"names": chosen}

    async def url(self, name: str) -> dict[str, Any]:
        """The address of a tunnel's Jupyter server, with its token; of a lost one, where it will answer."""
        waits = self._is_awaited(name)
        return {"url": self._known_url(name, token=True) if waits else await self._proven_url(name)}

    async def page(self, name: str) -> dict[str, Any]:
        """A page that takes a browser there; the address in the answer has no token.

        Of a tunnel that is lost and comes back by itself, a browser may be there already: it is held.
        """
        waits = self._is_awaited(name)
        url = self._known_url(name, token=True) if waits else await self._proven_url(name)
        path = self._pages.write(url, waits=waits)
        return {"path": path, "url": self._known_url(name, token=False)}

    async def reload(self) -> dict[str, Any]:
        """Reread the config."""
        return asdict(await self._works.whole(self._manager.reload()))

    async def shutdown(self) -> dict[str, Any]:
        """End the daemon, once this has been answered."""
        asyncio.get_running_loop().call_soon(self._stopping.set)
        return {}

    async def _proven_url(self, name: str) -> str:
        """The address with its token, once the server has answered: the port may be another's by now."""
        tunnel, connection, _ = self.servers.live_server(name, "have an address")
        assert tunnel.server is not None
        await tunnel.server.check(connection)
        return self._known_url(name, token=True)

    def _known_url(self, name: str, *, token: bool) -> str:
        tunnel = self._manager.tunnel(name)
        if tunnel.server is None or tunnel.server.current is None:
            raise ControlError(
                "not-up", f"{name} went down meanwhile", f"bring it up with: jtunnel up {name}"
            )
        url = tunnel.server.url(tunnel.server_port, token=token)
        if url is None:
            raise ControlError(
                "not-up",
                f"{name} has no pages for a browser",
                f'set page = "/" in [profiles.{name}.service] if it has, after all',
            )
        return url

    def _is_awaited(self, name: str) -> bool:
        """Whether requests to its server are held now; the gate opens to that server or to none."""
        tunnel = self._manager.tunnel(name)
        known = tunnel.server is not None and tunnel.server.current is not None
        return known and tunnel.state[0] == "retrying" and tunnel.profile.hold_s > 0
