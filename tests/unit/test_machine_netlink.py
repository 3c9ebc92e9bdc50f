"""Which of the kernel's notices are news: rtnetlink messages as the kernel forms them, and broken ones."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtunnel.machine.netlink import Sieve

NEWLINK, DELLINK, NEWADDR, DELADDR, NEWROUTE, DELROUTE, NEWNEIGH = 16, 17, 20, 21, 24, 25, 28
UP, LOOPBACK, RUNNING = 0x1, 0x8, 0x40
GLOBAL, LINK, HOST = 0, 253, 254
TENTATIVE, OPTIMISTIC, PERMANENT = 0x40, 0x04, 0x80
UNICAST, LOCAL, BROADCAST, MULTICAST = 1, 2, 3, 5
MAIN_TABLE, LOCAL_TABLE = 254, 255
INET, INET6, BRIDGE = 2, 10, 7


def message(kind: int, body: bytes, *attributes: tuple[int, bytes]) -> bytes:
    for number, value in attributes:
        padding = -len(value) % 4
        body += struct.pack("=HH", 4 + len(value), number) + value + b"\0" * padding
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def link(
    kind: int = NEWLINK, *, index: int = 3, flags: int = UP | RUNNING, family: int = 0, name: str = "wlan0"
) -> bytes:
    body = struct.pack("=BxHiII", family, 1, index, flags, 0)
    return message(kind, body, (3, name.encode() + b"\0"))


def address(
    ip: str, kind: int = NEWADDR, *, index: int = 3, scope: int = GLOBAL, flags: int = PERMANENT
) -> bytes:
    packed = socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)
    family = INET6 if ":" in ip else INET
    body = struct.pack("=BBBBI", family, 24, flags & 0xFF, scope, index)
    return message(kind, body, (1, packed), (8, struct.pack("=I", flags)), (6, b"\1\2\3\4" * 4))


def route(
    destination: str | None,
    kind: int = NEWROUTE,
    *,
    table: int = MAIN_TABLE,
    type_: int = UNICAST,
    flags: int = 0,
) -> bytes:
    is_ipv6 = destination is not None and ":" in destination
    body = struct.pack("=BBBBBBBBI", INET6 if is_ipv6 else INET, 24, 0, 0, table, 3, 0, type_, flags)
    if destination is None:
        return message(kind, body, (5, b"\x0a\0\0\1"))
    packed = socket.inet_pton(socket.AF_INET6 if is_ipv6 else socket.AF_INET, destination)
    return message(kind, body, (1, packed))


def news(*datagrams: bytes) -> list[bool]:
    sieve = Sieve()
    return [sieve.tells(datagram) for datagram in datagrams]


@pytest.mark.parametrize(
    ("datagrams", "are_news"),
    [
        # A scan of Wi-Fi repeats the link; the first word of a link is news, for it may be.
        ([link(), link(), link(flags=UP), link(flags=UP), link()], [True, False, True, False, True]),
        ([link(), link(DELLINK), link()], [True, True, True]),
        ([link(flags=LOOPBACK | UP), link(flags=LOOPBACK | UP | RUNNING)], [False, False]),
        # A port leaves a bridge; a link does not.
        ([link(), link(DELLINK, family=BRIDGE), link()], [True, False, False]),
        ([link(index=3), link(index=4), link(index=3)], [True, True, False]),
        # A router advertisement prolongs an address.
        ([address("10.0.0.5"), address("10.0.0.5"), address("10.0.0.6")], [True, False, True]),
        ([address("10.0.0.5"), address("10.0.0.5", index=4)], [True, True]),
        ([address("10.0.0.5"), address("10.0.0.5", DELADDR), address("10.0.0.5")], [True, True, True]),
        (
            [address("fd00::5", flags=TENTATIVE), address("fd00::5"), address("fd00::5")],
            [False, True, False],
        ),
        ([address("fd00::5", flags=TENTATIVE | OPTIMISTIC)], [True]),
        ([address("fe80::5", scope=LINK), address("127.0.0.5", scope=HOST)], [False, False]),
        ([route(None), route(None, DELROUTE), route("10.9.0.0"), route("2001:db8::")], [True] * 4),
        ([route("10.0.0.5", type_=LOCAL), route("10.0.0.255", type_=BROADCAST)], [False, False]),
        ([route("ff00::", type_=MULTICAST), route("ff00::"), route("fe80::")], [False, False, False]),
        ([route("fd00::5", table=LOCAL_TABLE), route("fd00::5", flags=0x200)], [False, False]),
        ([message(NEWNEIGH, b"\0" * 12), b""], [False, False]),
        # Several in one datagram.
        (
            [link() + address("10.0.0.5"), link() + address("10.0.0.5"), link() + route(None)],
            [True, False, True],
        ),
    ],
)
def test_news_is_told_from_repetition(datagrams: list[bytes], are_news: list[bool]) -> None:
    assert news(*datagrams) == are_news


def test_what_was_heard_before_notices_were_lost_counts_as_unheard() -> None:
    sieve = Sieve()
    assert sieve.tells(link() + address("10.0.0.5"))
    sieve.forget()
    assert sieve.tells(link())
    assert sieve.tells(address("10.0.0.5"))


@pytest.mark.parametrize(
    "broken",
    [
        b"\1",
        link()[:-1],
        link()[:20],
        struct.pack("=IHHII", 0, NEWLINK, 0, 0, 0),
        struct.pack("=IHHII", 15, NEWLINK, 0, 0, 0),
        struct.pack("=IHHII", 2**32 - 1, NEWLINK, 0, 0, 0),
        message(NEWLINK, b""),
        message(NEWADDR, struct.pack("=BBBBI", INET, 24, 0, 0, 3) + struct.pack("=HH", 0, 1)),
        message(NEWADDR, struct.pack("=BBBBI", INET, 24, 0, 0, 3) + struct.pack("=HH", 99, 1)),
        message(NEWADDR, struct.pack("=BBBBI", INET, 24, 0, 0, 3), (8, b"\1")),
        message(NEWROUTE, b"\0" * 5),
    ],
)
def test_what_cannot_be_read_is_news_and_forgets(broken: bytes) -> None:
    assert news(link(), link(), broken, link()) == [True, False, True, True]


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_no_bytes_are_too_strange(datagrams: list[bytes]) -> None:
    news(*datagrams)


@given(
    st.lists(st.sampled_from([link(), address("10.0.0.5"), address("10.0.0.5", DELADDR), route(None)])),
    st.integers(0, 300),
    st.binary(min_size=1, max_size=1),
)
def test_no_damaged_datagram_is_too_strange(datagrams: list[bytes], position: int, byte: bytes) -> None:
    whole = b"".join(datagrams)
    news(whole[:position] + byte + whole[position + 1 :])


def test_its_memory_is_bounded() -> None:
    sieve = Sieve()
    for number in range(25_000):
        sieve.tells(address(socket.inet_ntoa(number.to_bytes(4))))
    assert len(sieve._addresses) <= 10_001
