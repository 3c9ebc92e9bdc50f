"""What a tunnel's life would tell, and a machine whose clocks a test moves. Nothing here waits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from jtunnel.config.profile import Profile
from jtunnel.errors import JTunnelError, LinkError
from jtunnel.machine.clocks import Moment
from jtunnel.status import State
from jtunnel.tunnel.transition import Transition

LOST = LinkError("connection-lost", "gpu-box has not answered for 12 s")
REFUSED = LinkError("host-unreachable", "gpu-box refuses connections")
DENIED = LinkError("auth-failed", "gpu-box refused the login", "check the key")
#: A Sunday, on the hour.
BEGIN = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
_NS = 1_000_000_000


class Machine:
    """A machine that runs, sleeps and has its clock set; `at` is the wall clock's time."""

    def __init__(self) -> None:
        self.at = BEGIN.timestamp()
        self._awake_s = 5000.0
        self._always_s = 5000.0

    def clocks(self) -> Moment:
        """Both clocks."""
        return Moment(round(self._awake_s * _NS), round(self._always_s * _NS))

    def wall(self) -> float:
        """Seconds since 1970."""
        return self.at

    def run(self, seconds: float) -> None:
        """Time passes."""
        self.at += seconds
        self._awake_s += seconds
        self._always_s += seconds

    def sleep(self, seconds: float) -> None:
        """Time passes, and nothing runs."""
        self.at += seconds
        self._always_s += seconds

    def set_clock(self, seconds: float) -> None:
        """The clock is set forward or back."""
        self.at += seconds


class LoopClock:
    """The clocks of a machine in virtual time; `slept_s` is how long it has slept so far."""

    def __init__(self) -> None:
        self.slept_s = 0.0

    def __call__(self) -> Moment:
        now_s = asyncio.get_running_loop().time()
        return Moment(round(now_s * _NS), round((now_s + self.slept_s) * _NS))


class Life:
    """A tunnel, as far as it tells what it comes to."""

    def __init__(self, name: str = "gpu", **options: Any) -> None:
        self.profile = Profile(name, host=f"{name}-box", **options)
        self.state: State = "down"

    def become(
        self,
        state: State,
        error: JTunnelError | None = None,
        *,
        at: float | None = None,
        url: str | None = None,
    ) -> Transition:
        """What is told when it comes to that state; `at` is in seconds since 1970, by the loop if missing."""
        old, self.state = self.state, state
        if at is None:
            at = BEGIN.timestamp() + asyncio.get_running_loop().time()
        return Transition(self.profile.name, old, state, error, datetime.fromtimestamp(at, UTC), url)
