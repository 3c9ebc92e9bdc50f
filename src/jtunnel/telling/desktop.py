"""When the desktop is told of a tunnel, and in which words: blocked, away for long, up again.

Tunnels that meet the same fate within moments share one notification.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jtunnel.config.profile import Profile
from jtunnel.errors import JTunnelError
from jtunnel.machine.clocks import Moment, judge
from jtunnel.machine.clocks import now as read_clocks
from jtunnel.telling.children import Children
from jtunnel.telling.notices import Notice, Notices
from jtunnel.tunnel.story import length
from jtunnel.tunnel.transition import Transition

#: Seconds that a tunnel may be away before a person hears of it.
LONG_S: Final = 30.0
#: Seconds within which what happens to other tunnels belongs to the same event.
TOGETHER_S: Final = 2.0
_MOST_NAMES: Final = 4


@dataclass(slots=True)
class _Away:
    """A tunnel that was up; `due` by the loop's clock."""

    since: datetime
    due: float
    clocks: Moment
    error: JTunnelError | None
    told: bool = False


@dataclass(frozen=True, slots=True)
class _Return:
    """A tunnel that is up again, and the slot of the notification that told of its trouble."""

    slot: str
    at: datetime
    away: _Away | None


class Desktop:
    """Is told what tunnels come to, and tells the desktop. Everything it starts is a task of `tasks`."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        children: Children,
        environ: Mapping[str, str],
        *,
        clocks: Callable[[], Moment] = read_clocks,
    ) -> None:
        self._notices = Notices(tasks, children, environ)
        self._clocks = clocks
        self._loop = asyncio.get_running_loop()
        self._away: dict[str, _Away] = {}
        self._blocked: dict[str, JTunnelError | None] = {}
        """Those that a person has been told of, or is about to be."""
        self._news: set[str] = set()
        """Those of them, and of the returned, that nobody has been told of yet."""
        self._returned: dict[str, _Return] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._gathering: asyncio.TimerHandle | None = None

    def tell(self, profile: Profile, told: Transition) -> None:
        """Take in what a tunnel has come to."""
        name = told.name
        if not profile.notify or told.new == "down":
            for each in (self._away, self._blocked, self._returned):
                each.pop(name, None)
            self._news.discard(name)
        elif told.new == "up":
            self._return(name, told.at)
        elif told.new == "blocked":
            self._blocked[name] = told.error
            self._gather(name)
        elif told.old == "up":
            self._leave(name, told)
        else:
            if name in self._news and name in self._blocked:
                # A person has seen it before we said so.
                self._news.discard(name)
                del self._blocked[name]
            if (away := self._away.get(name)) and away.error is None:
                away.error = told.error

    async def close(self) -> None:
        """Say nothing any more."""
        for timer in (self._alarm, self._gathering):
            if timer is not None:
                timer.cancel()
        await self._notices.close()

    def _leave(self, name: str, told: Transition) -> None:
        back = self._returned.pop(name, None)
        self._news.discard(name)
        if back and back.away and back.away.told:
            # It was there for a moment only: the same outage goes on.
            self._away[name] = back.away
        else:
            due = self._loop.time() + LONG_S
            self._away[name] = _Away(told.at, due, self._clocks(), told.error)
        self._set_alarm()

    def _return(self, name: str, at: datetime) -> None:
        away = self._away.pop(name, None)
        was_blocked = name in self._blocked and name not in self._news
        self._blocked.pop(name, None)
        self._news.discard(name)
        if was_blocked or (away and away.told):
            self._returned[name] = _Return("blocked" if was_blocked else "outage", at, away)
            self._gather(name)

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if dues := [
            away.due for name, away in self._away.items() if not (away.told or name in self._blocked)
        ]:
            self._alarm = self._loop.call_at(min(dues), self._ring)

    def _ring(self) -> None:
        """Tell of those that are away for long. What was away before a sleep is given time once more."""
        self._alarm = None
        now, clocks = self._loop.time(), self._clocks()
        long: list[str] = []
        for name, away in self._away.items():
            if away.told or name in self._blocked:
                continue
            if judge(away.clocks, clocks, tick_s=LONG_S):
                away.due, away.clocks = now + LONG_S, clocks
            elif away.due <= now + TOGETHER_S:
                away.told = True
                long.append(name)
        if long:
            self._notices.show(self._outage_notice(long))
        self._set_alarm()

    def _gather(self, name: str) -> None:
        self._news.add(name)
        if self._gathering is None:
            self._gathering = self._loop.call_later(TOGETHER_S, self._tell_news)

    def _tell_news(self) -> None:
        self._gathering = None
        if self._news & self._blocked.keys():
            self._notices.show(_blocked_notice(self._blocked))
        returned, self._returned = self._returned, {}
        self._news.clear()
        # Each takes the place of the notification that told of the trouble.
        for slot in ("outage", "blocked"):
            if same := {name: back for name, back in returned.items() if back.slot == slot}:
                self._notices.show(self._return_notice(slot, same))

    def _outage_notice(self, names: Sequence[str]) -> Notice:
        errors = {error.message for name in names if (error := self._away[name].error)}
        why = f"{min(errors)}; " if len(errors) == 1 else ""
        return Notice("outage", f"{_are(names)} away", f"{why}jtunnel goes on trying by itself", "normal")

    def _return_notice(self, slot: str, returned: Mapping[str, _Return]) -> Notice:
        spans = [(back.at - back.away.since).total_seconds() for back in returned.values() if back.away]
        words = [f"after {length(max(0.0, *spans))}"] if spans else []
        if still := [name for name, away in self._away.items() if away.told and name not in self._blocked]:
            words.append(f"still away: {_listed(still)}")
        if self._blocked:
            words.append(f"still blocked: {_listed([*self._blocked])}")
        title = f"{_are([*returned])} up{' again' if spans else ''}"
        return Notice(slot, title, "; ".join(words), "normal")


def _blocked_notice(blocked: Mapping[str, JTunnelError | None]) -> Notice:
    names = [*blocked]
    lines = [f"{name}: {blocked[name] or 'blocked'}" for name in names[:_MOST_NAMES]]
    body = "\n".join(lines) if len(names) > 1 else str(blocked[names[0]] or "")
    return Notice("blocked", f"{_are(names)} blocked", body, "critical")


def _are(names: Sequence[str]) -> str:
    return f"{_listed(names)} {'is' if len(names) == 1 else 'are'}"


def _listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b, c and 27 more`."""
    shown = list(names)
    if len(shown) > _MOST_NAMES:
        shown = [*shown[: _MOST_NAMES - 1], f"{len(shown) - _MOST_NAMES + 1} more"]
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
