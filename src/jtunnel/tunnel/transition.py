"""One step of a tunnel as it is told to those who keep, run or show something because of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jtunnel.errors import JTunnelError
from jtunnel.status import State


@dataclass(frozen=True, slots=True)
class Transition:
    """A tunnel's state, or the kind of its problem, is another than before. `at` is UTC."""

    name: str
    old: State
    new: State
    error: JTunnelError | None
    at: datetime
    url: str | None = None
    """Where its Jupyter server answers on this machine, without token; None where it has none yet."""
