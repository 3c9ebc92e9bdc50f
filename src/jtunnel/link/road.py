"""The way to one destination: what ssh_config(5) makes of it now, its jump host, one try to connect."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Final

from jtunnel.changes import Changes
from jtunnel.errors import LinkError
from jtunnel.link.phase import Blocked, Serving, Waiting
from jtunnel.machine.watch import Watch
from jtunnel.ssh.connect import connect
from jtunnel.ssh.connection import Connection
from jtunnel.ssh.destination import Destination, Resolved
from jtunnel.ssh.dialer import Dialer
from jtunnel.ssh.identities import KeyStore
from jtunnel.ssh.prompts import Desk

if TYPE_CHECKING:
    from jtunnel.link.life import Link

#: Addresses for documentation (RFC 5737, RFC 3849): what leads there is a default route.
_ANYWHERE: Final = ("192.0.2.1", "2001:db8::1")

#: Leases the link to a jump host for as long as the block runs; the desk is the upper link's.
LeaseJump = Callable[[Destination, Desk], "AbstractAsyncContextManager[Link]"]


class Road:
    """Leads to one destination; `async with` it holds the lease of its jump host's link.

    Everything is read anew for each try: names, keys and known_hosts may have changed since the last
    one. Where ssh_config(5) comes to lead elsewhere, `moved` is set and no further try ends.
    """

    def __init__(
        self,
        destination: Destination,
        resolved: Resolved | None,
        environ: Mapping[str, str],
        lease_jump: LeaseJump,
        dialer: Dialer,
        changes: Changes,
    ) -> None:
        self.destination = destination
        self.resolved = resolved
        self.jump: Link | None = None
        self.moved = False
        self.desk = Desk()
        self._environ = environ
        self._lease_jump = lease_jump
        self._dialer = dialer
        self._changes = changes
        self._keys = KeyStore()
        self._jump_destination: Destination | None = None
        self._leases = AsyncExitStack()
        self._leasing = asyncio.Lock()
        self._peer: str | None = None

    @property
    def address(self) -> str:
        """Where it goes, for messages."""
        return self.resolved.address if self.resolved else self.destination.host

    async def __aenter__(self) -> Road:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.jump = self._jump_destination = None
        await self._leases.aclose()

    async def connect(self) -> Connection:
        """Make one try; raises LinkError."""
        resolved = await self._dialer.resolve(self.destination, self._environ)
        if self.resolved is not None and self.resolved.key != resolved.key:
            # Others may share this link by what it was; each of them looks its own way up again.
            self.moved = True
            self._changes.notify()
            await asyncio.Event().wait()
        self.resolved = resolved
        connection = await connect(
            resolved,
            environ=self._environ,
            desk=self.desk,
            store=self._keys,
            jump=await self._jump_connection(resolved.jump),
            dialer=self._dialer,
        )
        self._peer = connection.peer_address
        return connection

    async def wait_new_key(self) -> None:
        """Wait until the agent has a key that the latest login lacked, or the jump host serves again."""
        if (jump := self.jump) is not None and not isinstance(jump.phase, Serving):
            await jump.changes.until(lambda: isinstance(jump.phase, Serving))
        elif self.resolved is not None:
            await self._keys.wait_new_agent_key(self.resolved, self._environ, self._dialer.agents)
        else:
            await asyncio.Event().wait()

    def is_blocked(self, watch: Watch) -> bool:
        """Whether this machine surely has no way to the host now; what other programs dial is not known."""
        host = self.resolved.host if self.resolved else ""
        if self.jump is not None:
            return False
        if _is_ip_address(host):
            return watch.path_to(host) is None
        if self._peer is None or watch.path_to(self._peer) is not None:
            return False
        # Its name may have an address of the other family.
        return not any(watch.path_to(address) for address in _ANYWHERE)

    async def _jump_connection(self, wanted: Destination | None) -> Connection | None:
        """The jump host's connection, waiting for it; raises its LinkError where it has none now."""
        if wanted is None:
            return None
        link = await self._jump_link(wanted)
        await link.changes.until(lambda: link.moved or isinstance(link.phase, Serving | Waiting | Blocked))
        if link.moved:
            raise LinkError("connection-lost", f"jump host {wanted.host}: ssh_config has changed")
        if isinstance(link.phase, Waiting | Blocked):
            problem = link.phase.error
            raise LinkError(problem.kind, f"jump host {wanted.host}: {problem.message}", problem.advice)
        return await link.serving()

    async def _jump_link(self, wanted: Destination) -> Link:
        # Two tries may run at once.
        async with self._leasing:
            if self.jump is None or self._jump_destination != wanted or self.jump.moved:
                await self._leases.aclose()
                self.jump = await self._leases.enter_async_context(self._lease_jump(wanted, self.desk))
                self._jump_destination = wanted
            return self.jump


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
