"""What is new of a tunnel: its state since when, told to the rest of the daemon and to the log, once each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from jtunnel.config.profile import Profile
from jtunnel.errors import JTunnelError
from jtunnel.status import State
from jtunnel.tunnel.story import Story
from jtunnel.tunnel.transition import Transition


class News:
    """Compares each state with the one told last; `count` is the story's."""

    def __init__(
        self, name: str, tell: Callable[[Profile, Transition], None], count: Callable[[], tuple[int, int]]
    ) -> None:
        self.since = datetime.now(UTC)
        self._tell = tell
        self._told: tuple[State, str | None] = ("down", None)
        self._story = Story(name, count)

    def tell(
        self, profile: Profile, state: State, error: JTunnelError | None, url: str | None, *, settled: bool
    ) -> bool:
        """Tell what is new; True where the state or its problem is another than before.

        The log hears of it only once it is `settled`.
        """
        told = state, error.kind if error else None
        now = datetime.now(UTC)
        is_new = told != self._told
        if is_new:
            old, self._told = self._told[0], told
            if state != old:
                self.since = now
            self._tell(profile, Transition(profile.name, old, state, error, now, url))
        if settled:
            self._story.tell(state, error, now)
        return is_new
