"""What came and what went between two looks at the network, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from jtunnel.machine.routes import Route
from jtunnel.machine.snapshot import Address, Snapshot

_T = TypeVar("_T")

_MENTIONED: Final = 4


@dataclass(frozen=True, slots=True)
class Difference:
    """What came and what went; empty where nothing did."""

    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Such as `gained 10.0.0.5 on wlan0; lost eth0`."""
        parts = [
            f"{verb} {_listed(items)}"
            for verb, items in (("gained", self.gained), ("lost", self.lost))
            if items
        ]
        return "; ".join(parts)


def compare(before: Snapshot, after: Snapshot) -> Difference:
    """What differs; what one of them does not know is taken to be the same."""
    after = after.completed(before)
    gained = _more(before, after)
    lost = _more(after, before)
    for old, new, version in (
        (before.source4, after.source4, "IPv4"),
        (before.source6, after.source6, "IPv6"),
    ):
        if old is None or old == new:
            continue
        # A change of preference alone: nothing came and nothing went, but packets leave by another way.
        if new and not gained:
            gained.append(f"{new} as the way out over {version}")
        elif not new and not lost:
            lost.append(f"the way out over {version}")
    return Difference(tuple(gained), tuple(lost))


def _more(before: Snapshot, after: Snapshot) -> list[str]:
    """What `after` has and `before` has not; of an interface that rested, only its name."""
    whole = before.resting - after.resting
    addresses = sorted(_new(before.addresses, after.addresses))
    # The default route first: it matters to most.
    routes = sorted(_new(before.routes, after.routes), key=lambda route: (route.bits, route))
    items: list[Address | Route] = [*addresses, *routes]
    named = whole.intersection(item.interface for item in items)
    return [
        *(_described(name, addresses) for name in sorted(named)),
        *(str(item) for item in items if item.interface not in named),
    ]


def _described(interface: str, addresses: Sequence[Address]) -> str:
    ips = [address.ip for address in addresses if address.interface == interface]
    return f"{interface} ({_listed(ips)})" if ips else interface


def _new(before: frozenset[_T] | None, after: frozenset[_T] | None) -> frozenset[_T]:
    return frozenset() if before is None or after is None else after - before


def _listed(items: Sequence[str]) -> str:
    if len(items) <= _MENTIONED + 1:
        return ", ".join(items)
    return f"{', '.join(items[:_MENTIONED])} and {len(items) - _MENTIONED} more"
