"""The phases of a tunnel's own life and the state that a person sees. Pure.

What a person sees follows from three facts: whether the tunnel is wanted, the phase of its link,
and its own phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jtunnel.errors import JTunnelError
from jtunnel.link import phase as link
from jtunnel.status import State


@dataclass(frozen=True, slots=True)
class Down:
    """Not wanted: no listener, no link."""


@dataclass(frozen=True, slots=True)
class Resting:
    """The listeners are open; there will be a link once somebody comes."""


@dataclass(frozen=True, slots=True)
class Linking:
    """The listeners are open; there is no connection yet, or none any more."""


@dataclass(frozen=True, slots=True)
class Proving:
    """The connection is there; the forwards' targets are being tried."""


@dataclass(frozen=True, slots=True)
class Searching:
    """The remote Jupyter server is being found and asked."""


@dataclass(frozen=True, slots=True)
class Starting:
    """The remote Jupyter server is being started; `step` says how far it is."""

    step: str


@dataclass(frozen=True, slots=True)
class Up:
    """Proven end to end."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """A person is needed for something that is not the link's."""

    error: JTunnelError


Phase = Down | Resting | Linking | Proving | Searching | Starting | Up | Stopped

#: What keeps a tunnel from being up where its link and its server are: `blocked`, `retrying` or, while
#: something is tried again, `connecting`.
Trouble = tuple[State, JTunnelError | None]

_FOLLOWERS: Final[Mapping[type[Phase], tuple[type[Phase], ...]]] = {
    Down: (Linking, Resting, Stopped),
    Resting: (Linking, Stopped, Down),
    Linking: (Proving, Stopped, Resting, Down),
    Proving: (Searching, Up, Stopped, Proving, Linking, Resting, Down),
    Searching: (Starting, Up, Stopped, Proving, Linking, Resting, Down),
    Starting: (Starting, Up, Stopped, Proving, Linking, Resting, Down),
    Up: (Searching, Stopped, Proving, Linking, Resting, Down),
    Stopped: (Linking, Proving, Resting, Down),
}


def check_step(old: Phase, new: Phase) -> None:
    """Raise RuntimeError where `new` may not follow `old`: our bug, never the user's."""
    if type(new) not in _FOLLOWERS[type(old)]:
        raise RuntimeError(f"a tunnel cannot go from {type(old).__name__} to {type(new).__name__}")


def derive_state(
    phase: Phase,
    link_phase: link.Phase | None,
    trouble: Trouble | None = None,
    setback: JTunnelError | None = None,
) -> tuple[State, JTunnelError | None]:
    """The state of the contract, and the problem behind it.

    `trouble` is that of the forwards; `setback` is why the server is looked for once more, over a
    connection that answers.
    """
    if isinstance(phase, Down | Resting):
        return "down", None
    if isinstance(phase, Stopped):
        return "blocked", phase.error
    match link_phase:
        case link.Blocked(error):
            return "blocked", error
        case (
            link.Waiting(error=error)
            | link.Suspected(error=error)
            | link.Dialling(error=JTunnelError() as error)
        ):
            return "retrying", error
        case link.Serving():
            if isinstance(phase, Up):
                return trouble or ("up", None)
            if setback is not None:
                return "retrying", setback
            return ("starting" if isinstance(phase, Searching | Starting) else "connecting"), None
        case _:
            return "connecting", None
