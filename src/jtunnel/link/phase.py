"""The phases of a link, and which may follow which. Pure; an impossible step is a bug of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jtunnel.errors import LinkError
from jtunnel.ssh.connection import Connection


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing has been tried yet."""


@dataclass(frozen=True, slots=True)
class Dialling:
    """A connection is being made; `error` is why there is none, None at the very first try."""

    attempt: int
    error: LinkError | None


@dataclass(frozen=True, slots=True)
class Serving:
    """The connection is there."""

    connection: Connection


@dataclass(frozen=True, slots=True)
class Suspected:
    """The connection does not answer: nothing new goes over it, and another is being made beside it.

    `attempt` and `retry_at` are the other one's; `retry_at` is None while it is tried.
    """

    connection: Connection
    error: LinkError
    attempt: int
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The next try is at `retry_at` (UTC)."""

    attempt: int
    error: LinkError
    retry_at: datetime


@dataclass(frozen=True, slots=True)
class Blocked:
    """A person is needed; nothing is tried until one asks for it."""

    error: LinkError


Phase = Idle | Dialling | Serving | Suspected | Waiting | Blocked

_FOLLOWERS: Final[Mapping[type[Phase], tuple[type[Phase], ...]]] = {
    Idle: (Dialling,),
    Dialling: (Dialling, Serving, Waiting, Blocked),
    # Its connection is suspected, or lost.
    Serving: (Suspected, Waiting, Dialling, Blocked),
    # It answers again or another took its place (Serving); else it was lost while that was under way.
    Suspected: (Suspected, Serving, Waiting, Dialling, Blocked),
    # Somebody begins to wait, and the next try comes nearer.
    Waiting: (Waiting, Dialling),
    Blocked: (Dialling,),
}


def check_step(old: Phase, new: Phase) -> None:
    """Raise RuntimeError where `new` may not follow `old`."""
    if type(new) not in _FOLLOWERS[type(old)]:
        raise RuntimeError(f"a link cannot go from {type(old).__name__} to {type(new).__name__}")
