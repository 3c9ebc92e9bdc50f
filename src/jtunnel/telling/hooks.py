"""Runs what a profile names as `on_up`, `on_down` and `on_blocked`, in order; no tunnel ever waits for it.

`on_up` and `on_down` take turns: one that is suspected, and answers within some seconds, was not down.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from jtunnel.config.profile import Profile
from jtunnel.errors import one_line
from jtunnel.telling.children import Children, Ended
from jtunnel.tunnel.transition import Transition

#: Seconds that a tunnel may be away before `on_down` is run: most suspicions end sooner, and without a loss.
PATIENCE_S: Final = 3.0
TIMEOUT_S: Final = 30.0
_MOST_AT_ONCE: Final = 4
#: Calls of one tunnel that wait for the one that runs.
_MOST_WAITING: Final = 8
_MOST_LINES: Final = 20

Event = Literal["on_up", "on_down", "on_blocked"]


@dataclass(frozen=True, slots=True)
class _Call:
    event: Event
    argv: tuple[str, ...]
    variables: Mapping[str, str]


@dataclass(slots=True)
class _Turn:
    """One tunnel's: whether it was called up, and what is to be run."""

    is_up: bool = False
    patience: asyncio.TimerHandle | None = None
    told: tuple[Profile, Transition] | None = None
    """What it came to, while there is patience with it."""
    waiting: deque[_Call] = field(default_factory=deque)
    work: asyncio.Task[None] | None = None


class Hooks:
    """Is told what tunnels come to. Everything it starts is a task of `tasks`."""

    def __init__(self, tasks: asyncio.TaskGroup, children: Children, *, timeout_s: float = TIMEOUT_S) -> None:
        self._tasks = tasks
        self._children = children
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)
        self._turns: dict[str, _Turn] = {}
        self._log = logging.getLogger(__name__)

    def tell(self, profile: Profile, told: Transition, outage_s: float | None = None) -> None:
        """Run what this calls for; `outage_s` is the length of the outage that it ends."""
        turn = self._turns.setdefault(told.name, _Turn())
        if told.new == "up":
            _lose_patience(turn)
            if not turn.is_up:
                turn.is_up = True
                self._add(turn, "on_up", profile.on_up, profile, told, outage_s)
        elif turn.is_up:
            if told.new in ("down", "blocked"):
                self._go_down(turn, profile, told)
            else:
                # Of two words about it, the one that says why.
                if turn.told is None or told.error is not None:
                    turn.told = profile, told
                if turn.patience is None:
                    loop = asyncio.get_running_loop()
                    turn.patience = loop.call_later(PATIENCE_S, self._run_out, turn)
        if told.new == "blocked":
            self._add(turn, "on_blocked", profile.on_blocked, profile, told)
        if turn == _Turn():
            del self._turns[told.name]

    async def close(self) -> None:
        """End what runs; run nothing any more."""
        works = [turn.work for turn in self._turns.values() if turn.work is not None]
        for turn in self._turns.values():
            _lose_patience(turn)
            turn.waiting.clear()
        for work in works:
            work.cancel()
        if works:
            await asyncio.wait(works)

    def _run_out(self, turn: _Turn) -> None:
        assert turn.told is not None
        self._go_down(turn, *turn.told)

    def _go_down(self, turn: _Turn, profile: Profile, told: Transition) -> None:
        _lose_patience(turn)
        turn.is_up = False
        self._add(turn, "on_down", profile.on_down, profile, replace(told, old="up"))

    def _add(
        self,
        turn: _Turn,
        event: Event,
        argv: tuple[str, ...],
        profile: Profile,
        told: Transition,
        outage_s: float | None = None,
    ) -> None:
        if not argv:
            return
        if len(turn.waiting) >= _MOST_WAITING:
            missed = turn.waiting.popleft()
            self._say(
                profile.name, logging.WARNING, f"{missed.event} is left out: too many wait for a slow one"
            )
        turn.waiting.append(_Call(event, argv, _variables(event, profile, told, outage_s)))
        if turn.work is None:
            turn.work = self._tasks.create_task(self._work(profile.name, turn))

    async def _work(self, name: str, turn: _Turn) -> None:
        try:
            while turn.waiting:
                async with self._places:
                    await self._run(name, turn.waiting.popleft())
        finally:
            turn.work = None

    async def _run(self, name: str, call: _Call) -> None:
        try:
            ended = await self._children.run(call.argv, call.variables, timeout_s=self._timeout_s)
        except OSError as error:
            self._say(name, logging.WARNING, f"{call.event}: cannot run {call.argv[0]}: {error.strerror}")
        except Exception:  # noqa: BLE001  (a bug here must not end the tunnels)
            self._log.exception("%s failed", call.event, extra={"tunnel": name})
        else:
            self._report(name, call, ended)

    def _report(self, name: str, call: _Call, ended: Ended) -> None:
        lines = [line for line in map(one_line, ended.output.splitlines()) if line]
        for line in lines[:_MOST_LINES]:
            self._say(name, logging.INFO, f"{call.event}: {line}")
        if ended.late:
            self._say(
                name, logging.WARNING, f"{call.event} was ended: it took longer than {self._timeout_s:.0f} s"
            )
        elif ended.code:
            self._say(name, logging.WARNING, f"{call.event} failed: {_outcome(ended.code)}")
        else:
            self._say(name, logging.INFO, f"{call.event} was run")

    def _say(self, name: str, level: int, text: str) -> None:
        self._log.log(level, "%s", text, extra={"tunnel": name})


def _lose_patience(turn: _Turn) -> None:
    if turn.patience is not None:
        turn.patience.cancel()
    turn.patience = turn.told = None


def _variables(event: Event, profile: Profile, told: Transition, outage_s: float | None) -> dict[str, str]:
    error = told.error
    return {
        "JTUNNEL_EVENT": event,
        "JTUNNEL_PROFILE": profile.name,
        "JTUNNEL_HOST": profile.host,
        "JTUNNEL_STATE": told.new,
        "JTUNNEL_OLD_STATE": told.old,
        "JTUNNEL_PROBLEM": error.kind if error else "",
        "JTUNNEL_MESSAGE": error.message if error else "",
        "JTUNNEL_ADVICE": error.advice if error else "",
        "JTUNNEL_URL": told.url or "",
        "JTUNNEL_OUTAGE_SECONDS": "" if outage_s is None else f"{outage_s:.1f}",
    }


def _outcome(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
