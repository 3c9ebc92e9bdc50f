"""What came and what went between two looks, and how it is said."""

from __future__ import annotations

import dataclasses
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtunnel.machine.difference import Difference, compare
from jtunnel.machine.routes import Route
from jtunnel.machine.snapshot import Address, Snapshot


def via(gateway: str, interface: str = "wlan0") -> Route:
    return Route(interface, bytes(4), 0, socket.inet_aton(gateway))


def to(network: str, bits: int, interface: str) -> Route:
    return Route(interface, socket.inet_aton(network), bits, b"")


def look(
    *items: Address | Route, resting: tuple[str, ...] = (), source4: str = "", source6: str = ""
) -> Snapshot:
    return Snapshot(
        addresses=frozenset(item for item in items if isinstance(item, Address)),
        resting=frozenset(resting),
        routes=frozenset(item for item in items if isinstance(item, Route)),
        source4=source4,
        source6=source6,
    )


HOME = Address("192.168.1.5", "wlan0")
OFFICE = Address("10.0.0.5", "wlan0")
VPN = Address("10.8.0.6", "tun0")
CABLE = Address("172.16.0.5", "eth0")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (look(), look(), ""),
        (look(HOME), look(HOME), ""),
        (look(), look(HOME), "gained 192.168.1.5 on wlan0"),
        (look(HOME), look(OFFICE), "gained 10.0.0.5 on wlan0; lost 192.168.1.5 on wlan0"),
        (
            look(HOME, via("192.168.1.1"), source4=HOME.ip),
            look(HOME, via("192.168.1.2"), source4=HOME.ip),
            f"gained {via('192.168.1.2')}; lost {via('192.168.1.1')}",
        ),
        # An interface whose carrier goes takes all of its own with it.
        (
            look(HOME, via("192.168.1.1"), source4=HOME.ip),
            look(resting=("wlan0",)),
            "lost wlan0 (192.168.1.5)",
        ),
        (
            look(resting=("wlan0",)),
            look(HOME, via("192.168.1.1"), source4=HOME.ip),
            "gained wlan0 (192.168.1.5)",
        ),
        (look(resting=("wlan0", "eth0")), look(resting=("wlan0",)), ""),
        (look(VPN), look(VPN, to("10.20.0.0", 16, "tun0")), "gained the route to 10.20.0.0/16 on tun0"),
        (
            look(HOME, CABLE, source4=HOME.ip),
            look(HOME, CABLE, source4=CABLE.ip),
            "gained 172.16.0.5 as the way out over IPv4",
        ),
        (look(HOME, source6="fd00::5"), look(HOME), "lost the way out over IPv6"),
        (
            look(),
            look(*(Address(f"10.0.0.{number}", "eth0") for number in range(1, 8))),
            "gained 10.0.0.1 on eth0, 10.0.0.2 on eth0, 10.0.0.3 on eth0, 10.0.0.4 on eth0 and 3 more",
        ),
        # What could not be read says nothing, before or after.
        (Snapshot(), look(HOME, via("192.168.1.1"), source4=HOME.ip), ""),
        (look(HOME, via("192.168.1.1"), source4=HOME.ip), Snapshot(), ""),
        (Snapshot(source4=""), Snapshot(source4=HOME.ip), "gained 192.168.1.5 as the way out over IPv4"),
    ],
)
def test_a_change_in_words(before: Snapshot, after: Snapshot, said: str) -> None:
    assert str(compare(before, after)) == said


addresses = st.builds(Address, st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]), st.sampled_from("abc"))
routes = st.builds(Route, st.sampled_from("abc"), st.just(bytes(4)), st.integers(0, 1), st.just(b""))
sources = st.sampled_from(["", "10.0.0.1", "10.0.0.2"])
snapshots = st.builds(
    Snapshot,
    addresses=st.frozensets(addresses),
    resting=st.frozensets(st.sampled_from("abc")),
    routes=st.frozensets(routes),
    source4=sources,
    source6=sources,
)


@given(snapshots)
def test_what_stays_is_no_change(snapshot: Snapshot) -> None:
    assert compare(snapshot, snapshot) == Difference()


@given(snapshots, snapshots)
def test_what_is_gained_one_way_is_lost_the_other(before: Snapshot, after: Snapshot) -> None:
    # But for the way out: another one is gained either way.
    after = dataclasses.replace(after, source4=before.source4, source6=before.source6)
    assert compare(before, after).gained == compare(after, before).lost


@given(snapshots, snapshots)
def test_no_change_goes_unsaid(before: Snapshot, after: Snapshot) -> None:
    difference = compare(before, after)
    assert before.addresses is not None
    assert after.addresses is not None
    assert before.routes is not None
    assert after.routes is not None
    came = after.addresses - before.addresses or after.routes - before.routes
    went = before.addresses - after.addresses or before.routes - after.routes
    moved = (before.source4, before.source6) != (after.source4, after.source6)
    assert not came or difference.gained
    assert not went or difference.lost
    assert bool(difference.gained or difference.lost) == bool(came or went or moved)
