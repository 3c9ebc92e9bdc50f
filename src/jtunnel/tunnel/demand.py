"""When an on-demand tunnel connects: at the first use or when asked, until nobody has used it for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from jtunnel.config.profile import Profile
from jtunnel.tunnel.forwards import Forwards


class Demand:
    """Whether a tunnel is called for; one that is not on-demand always is.

    `is_coming` says whether it is on its way up, which may take longer than it is kept unused.
    """

    def __init__(self, profile: Profile, forwards: Forwards, *, is_coming: Callable[[], bool]) -> None:
        self._forwards = forwards
        self._is_coming = is_coming
        self._is_called = False
        self.follow(profile)

    @property
    def rests(self) -> bool:
        """Whether there should be no connection now."""
        return self._is_on_demand and not self._is_called

    def follow(self, profile: Profile) -> None:
        """The profile was edited."""
        self._is_on_demand = profile.autostart == "on-demand"
        self._limit_s = profile.idle_timeout_s
        self._forwards.traffic.notify()
        self._forwards.changes.notify()

    def call(self) -> None:
        """Somebody wants it now."""
        self._is_called = True
        self._forwards.traffic.notify()

    def end(self) -> None:
        """Nobody wants it any more."""
        self._is_called = False

    async def wait_called(self) -> None:
        """Wait until it is asked for, or somebody comes to a listener."""
        forwards = self._forwards
        seen = forwards.accepted
        await forwards.traffic.until(
            lambda: not self.rests or forwards.awaits or forwards.accepted > seen,
        )
        self._is_called = True

    async def wait_idle(self) -> float:
        """Return, once nobody has used it for that long, the seconds; where it is not on-demand, never."""
        forwards = self._forwards
        while True:
            # Elsewhere each connection that comes or goes would wake this for nothing.
            limit_s = self._limit_s if self._is_on_demand else 0
            is_used = forwards.is_busy or self._is_coming()
            changes = forwards.traffic if limit_s else forwards.changes
            seen = changes.index
            try:
                async with asyncio.timeout(limit_s if limit_s and not is_used else None):
                    await changes.wait(seen)
            except TimeoutError:
                # Somebody may have come in the moment between the alarm and the waking up.
                if changes.index == seen:
                    self._is_called = False
                    # Whoever comes from now on waits for the next connection, and does not lose this one.
                    forwards.gates.hold_every()
                    return limit_s
