"""Routing tables as Linux prints them and as macOS hands them out: which routes are read from them."""

from __future__ import annotations

import socket
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtunnel.machine import route_socket
from jtunnel.machine.routes import Route, parse_ipv4, parse_ipv6

IPV4 = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0
tun0\t0000140A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
*\t00000000\t00000000\t0200\t0\t0\t20000\t00000000\t0\t0\t0
wlan0\tnonsense
"""
NOWHERE = "0" * 32
IPV6 = f"""\
20010db8000100000000000000000000 40 {NOWHERE} 00 {NOWHERE} 00000258 00000001 00000000 00000001    wlan0
fe800000000000000000000000000000 40 {NOWHERE} 00 {NOWHERE} 00000100 00000001 00000000 00000001    wlan0
{NOWHERE} 00 {NOWHERE} 00 fe800000000000000000000000000001 00000258 00000001 00000000 00450003    wlan0
00000000000000000000000000000001 80 {NOWHERE} 00 {NOWHERE} 00000000 00000002 00000000 80200001       lo
20010db8000100000000000000000005 80 {NOWHERE} 00 {NOWHERE} 00000000 00000002 00000000 80200001    wlan0
20010db8000100000000000000000000 80 {NOWHERE} 00 {NOWHERE} 00000000 00000002 00000000 00300001    wlan0
ff000000000000000000000000000000 08 {NOWHERE} 00 {NOWHERE} 00000100 00000004 00000000 00000001    wlan0
{NOWHERE} 00 {NOWHERE} 00 {NOWHERE} ffffffff 00000001 00000000 00200200       lo
cut short
"""


@pytest.mark.skipif(sys.byteorder != "little", reason="the table above is of a little-endian machine")
def test_routes_of_ipv4() -> None:
    assert [str(route) for route in parse_ipv4(IPV4)] == [
        "the default route by 192.168.1.1 on wlan0",
        "the route to 192.168.1.0/24 on wlan0",
        "the route to 10.20.0.0/16 on tun0",
    ]


def test_routes_of_ipv6() -> None:
    assert [str(route) for route in parse_ipv6(IPV6)] == [
        "the route to 2001:db8:1::/64 on wlan0",
        "the default route by fe80::1 on wlan0",
    ]


@given(st.text())
def test_no_table_is_too_strange(table: str) -> None:
    list(parse_ipv4("header\n" + table))
    list(parse_ipv6(table))


UP, GATEWAY, HOST, LLINFO, STATIC, WAS_CLONED = 0x1, 0x2, 0x4, 0x400, 0x800, 0x20000
ADD, DELETE, GET, MISS, NEW_ADDRESS, INTERFACE = 1, 2, 4, 7, 0xC, 0xE
LOOPBACK_INDEX = 1


def inet(ip: str, length: int = 16) -> bytes:
    """A struct sockaddr_in of macOS; as a mask it may be cut short."""
    return (struct.pack("=BBH", length, socket.AF_INET, 0) + socket.inet_aton(ip) + b"\0" * 8)[:length]


def inet6(ip: str) -> bytes:
    return struct.pack("=BBHI", 28, 30, 0, 0) + socket.inet_pton(socket.AF_INET6, ip) + b"\0" * 4


def wire() -> bytes:
    """A struct sockaddr_dl: no gateway but the interface itself."""
    return struct.pack("=BBH", 20, 18, 4) + b"\0" * 16


def entry(flags: int, destination: bytes, gateway: bytes, mask: bytes | None, kind: int = GET) -> bytes:
    addresses = [destination, gateway] + ([] if mask is None else [mask])
    present = 0x3 if mask is None else 0x7
    body = b"".join(item + b"\0" * (max(4, (len(item) + 3) & ~3) - len(item)) for item in addresses)
    start = struct.pack("=HBBHxxii", 92 + len(body), 5, kind, LOOPBACK_INDEX, flags, present)
    return start + b"\x5a" * (92 - len(start)) + body


def test_routes_of_macos() -> None:
    name = socket.if_indextoname(LOOPBACK_INDEX)
    table = b"".join(
        [
            entry(UP | GATEWAY | STATIC, inet("0.0.0.0"), inet("192.168.1.1"), b""),
            entry(UP | STATIC, inet("10.20.0.0"), wire(), inet("255.255.0.0", length=6)),
            entry(UP | GATEWAY | HOST, inet("198.51.100.7"), inet("192.168.1.1"), None),
            entry(UP | GATEWAY, inet6("::"), inet6("fe80::1"), b""),
            entry(UP | GATEWAY | HOST | WAS_CLONED, inet("8.8.8.8"), inet("192.168.1.1"), None),
            entry(UP | HOST | LLINFO | STATIC, inet("192.168.1.9"), wire(), None),
            entry(UP | STATIC, inet("224.0.0.0"), wire(), inet("240.0.0.0", length=5)),
            entry(UP | STATIC, inet("169.254.0.0"), wire(), inet("255.255.0.0", length=6)),
            entry(UP | STATIC, inet6("fe80::"), wire(), inet6("ffff:ffff:ffff:ffff::")),
        ]
    )
    assert list(route_socket.parse_routes(table)) == [
        Route(name, bytes(4), 0, b"\xc0\xa8\1\1"),
        Route(name, b"\x0a\x14\0\0", 16, b""),
        Route(name, b"\xc6\x33\x64\7", 32, b"\xc0\xa8\1\1"),
        Route(name, bytes(16), 0, socket.inet_pton(socket.AF_INET6, "fe80::1")),
    ]


@pytest.mark.parametrize(
    ("datagram", "is_news"),
    [
        (entry(UP | GATEWAY, inet("0.0.0.0"), inet("192.168.1.1"), b"", kind=ADD), True),
        (entry(UP | STATIC, inet("10.20.0.0"), wire(), None, kind=DELETE), True),
        # The cache learns neighbours and ways to hosts all day.
        (entry(UP | HOST | LLINFO, inet("192.168.1.9"), wire(), None, kind=ADD), False),
        (entry(UP | HOST | WAS_CLONED, inet("8.8.8.8"), wire(), None, kind=DELETE), False),
        (entry(0, inet("8.8.8.8"), wire(), None, kind=MISS), False),
        (struct.pack("=HBB", 20, 5, NEW_ADDRESS) + b"\0" * 16, True),
        (struct.pack("=HBB", 112, 5, INTERFACE) + b"\0" * 108, True),
        (struct.pack("=HBB", 20, 4, NEW_ADDRESS) + b"\0" * 16, False),  # of another version
        (struct.pack("=HBB", 8, 5, ADD) + b"\0" * 4, True),  # too short to be read
        (struct.pack("=HBB", 0, 5, ADD), True),
        (b"\1", True),
        (b"", False),
    ],
)
def test_notices_of_macos(datagram: bytes, is_news: bool) -> None:
    assert route_socket.Sieve().tells(datagram) is is_news


@given(st.binary(max_size=400))
def test_no_bytes_are_too_strange_for_macos(data: bytes) -> None:
    route_socket.Sieve().tells(data)
    try:
        list(route_socket.parse_routes(data))
    except struct.error:
        return


@given(st.binary(max_size=100), st.integers(0, 255), st.integers(-(2**31), 2**31 - 1))
def test_no_addresses_are_too_strange_for_macos(body: bytes, present: int, flags: int) -> None:
    start = struct.pack("=HBBHxxii", 92 + len(body), 5, GET, LOOPBACK_INDEX, flags, present)
    list(route_socket.parse_routes(start + b"\0" * (92 - len(start)) + body))
