"""Paths to peers and local addresses, asked of this machine's own kernel."""

from __future__ import annotations

import os
import resource
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtunnel.machine.difference import Difference
from jtunnel.machine.network import Network
from jtunnel.machine.path import Path, has_address, interface_flags, is_loopback, is_running
from jtunnel.machine.watch import Watch

LOOPBACK = socket.if_indextoname(1)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_loopback_always_has_a_path(peer: str) -> None:
    assert Watch().path_to(peer) == Path(peer.removeprefix("::ffff:"), LOOPBACK)


@pytest.mark.parametrize(
    "peer",
    [
        "",
        "localhost",
        "box.example",
        "10.0.0",
        "10.0.0.1:22",
        "[::1]",
        "fe80::1%nonesuch",
        "fe80::1%4294967295",
        "fe80::1%99999999999999999999",
        "fe80::1%a\0b",
        "fe80::1%\udcff",
        "\0",
        "1" * 5000,
    ],
)
def test_what_is_no_address_here_has_no_path(peer: str) -> None:
    assert Watch().path_to(peer) is None


@given(st.one_of(st.text(), st.ip_addresses().map(str), st.from_regex(r"fe80::[0-9a-f]{1,4}%\w{0,20}")))
def test_no_peer_raises(peer: str) -> None:
    watch = Watch()
    path = watch.path_to(peer)
    assert path is None or path.source
    watch.has_address(peer)


def test_its_own_addresses_are_had_and_others_are_not() -> None:
    assert has_address("127.0.0.1")
    assert has_address("::ffff:127.0.0.1")
    # RFC 5737 and RFC 3849: nobody's.
    assert not has_address("203.0.113.77")
    assert not has_address("2001:db8::77")
    # It cannot tell: it does not say that something is gone, and looks no name up.
    assert has_address("no-such-name.example")


def test_an_address_of_this_machine_is_its_own_path() -> None:
    network = Network()
    network.look()
    for ip, names in network._snapshot.owners.items():
        if ip.startswith(("127.", "fe8")) or ip == "::1" or not has_address(ip):
            continue
        path = network.path_to(ip)
        assert path is not None
        assert path.source == ip
        assert path.interface in names


def test_a_shortage_of_descriptors_is_no_change_of_the_network() -> None:
    network = Network()
    network.look()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        assert network.look() == Difference()
        assert network.path_to("203.0.113.1") is not None
        assert has_address("203.0.113.1")
        assert interface_flags(LOOPBACK) is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert network.look() == Difference()


def test_flags_of_interfaces() -> None:
    assert is_loopback(interface_flags(LOOPBACK))
    assert is_running(interface_flags(LOOPBACK))
    assert interface_flags("nonesuch") == 0
    assert not is_running(0)
    # What cannot be read is given the benefit of the doubt.
    assert is_running(None)
