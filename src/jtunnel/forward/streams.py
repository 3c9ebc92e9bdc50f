"""The streams of one forward: the bridges that are there, and counts of all that have been."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jtunnel.forward.bridge import Bridge


@dataclass(frozen=True, slots=True)
class ListenerStats:
    """Counts of one forward. `active` are those served or being opened; bytes as this machine sees them.

    `served_held` counts how often a held connection was handed to an opener, `cut` the established
    ones that ended because their far end was cut.
    """

    active: int
    held: int
    accepted: int
    bytes_in: int
    bytes_out: int
    served_held: int
    cut: int


class Streams:
    """Bridges from `new` on, counted once they are in `add`; `ended` is called after each one's end."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._tell_end = ended
        self._bridges: set[Bridge] = set()
        self._bytes_in = 0
        self._bytes_out = 0
        self.cut = 0

    def __len__(self) -> int:
        return len(self._bridges)

    @property
    def bytes_in(self) -> int:
        """Bytes from the far ends, also of bridges that are gone."""
        return self._bytes_in + sum(bridge.bytes_in for bridge in self._bridges)

    @property
    def bytes_out(self) -> int:
        """Bytes from the local sides."""
        return self._bytes_out + sum(bridge.bytes_out for bridge in self._bridges)

    def new(self) -> Bridge:
        """Make a bridge that has no ends yet."""
        return Bridge(self._ended)

    def add(self, bridge: Bridge) -> None:
        """It has an end."""
        self._bridges.add(bridge)

    def reset(self) -> None:
        """Cut all at once; the local programs see a reset."""
        for bridge in list(self._bridges):
            bridge.reset()

    def _ended(self, bridge: Bridge) -> None:
        self._bridges.discard(bridge)
        self._bytes_in += bridge.bytes_in
        self._bytes_out += bridge.bytes_out
        self.cut += bridge.was_cut
        self._tell_end()
