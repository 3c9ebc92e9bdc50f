"""Where a tunnel's link leads: the profile's host or, where the server lives on another node, over it there.

An alias of several login nodes leads to any of them; the server and its kernels live on one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from jtunnel.config.profile import Profile
from jtunnel.ssh.destination import Destination


class Ways:
    """The way that is used now, and those still to be tried."""

    def __init__(self, profile: Profile) -> None:
        self._moved = asyncio.Event()
        self.is_proven = True
        """Whether the present way has led to the server; the profile's own needs no proof."""
        self._own = _destination(profile)
        self._nodes: list[Destination] = []
        self._failed = False

    @property
    def destination(self) -> Destination:
        """Where the link leads now."""
        return self._nodes[0] if self._nodes else self._own

    def follow(self, profile: Profile, *, anew: bool) -> bool:
        """The profile was edited: take its way where that is another now, or has to be taken anew."""
        own = _destination(profile)
        if own == self._own and not anew:
            return False
        self._own = own
        self.forget()
        self._move()
        return True

    async def wait_moved(self) -> None:
        """Wait until another way is to be taken."""
        await self._moved.wait()

    def go_to(self, names: Sequence[str], user: str) -> bool:
        """Try a node by each of these names, over the profile's host; False where that was done before."""
        if self._nodes or self._failed or not names:
            return False
        own = self._own
        hop = f"[{own.host}]" if ":" in own.host else own.host
        hop = f"{own.user}@{hop}" if own.user else hop
        hop = f"{hop}:{own.port}" if own.port else hop
        jump = (*(own.jump or ()), hop)
        self._nodes = [replace(own, host=name, user=user, port=None, jump=jump) for name in names]
        self._move()
        return True

    def give_up(self) -> None:
        """The present node cannot be reached: the next name, or the profile's host again."""
        self._nodes = self._nodes[1:]
        self._failed = not self._nodes
        self._move()

    def forget(self) -> None:
        """Begin anew with the profile's host, the next time a way is needed."""
        self._nodes = []
        self._failed = False
        self.is_proven = True

    def allow(self) -> None:
        """A person asks: what could not be reached may be tried again."""
        self._failed = False

    def _move(self) -> None:
        self.is_proven = not self._nodes
        self._moved.set()
        self._moved = asyncio.Event()


def _destination(profile: Profile) -> Destination:
    return Destination(
        host=profile.host,
        user=profile.user,
        port=profile.port,
        identity_files=profile.identity_files,
        jump=profile.jump,
        known_hosts=profile.known_hosts,
        ssh_config=profile.ssh_config,
        keepalive_interval_s=profile.keepalive_interval_s,
        keepalive_count=profile.keepalive_count,
    )
