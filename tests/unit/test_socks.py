"""SOCKS 4, 4a and 5: what clients may say, in whatever pieces, and what they are told."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtunnel.address import TcpAddress
from jtunnel.forward.socks import Handshake, RefusedError, Request

NO_AUTHENTICATION = b"\x05\x01\x00"
CHOSEN = b"\x05\x00"

ports = st.integers(0, 65535)
names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=60)
users = st.binary(max_size=255).map(lambda user: user.replace(b"\x00", b"-"))


@dataclass
class Heard:
    """What became of a stream: the request or the refusal, all replies, and what was left unread."""

    request: Request | None
    refusal: bytes | None
    replies: bytes
    unread: bytes


def hear(stream: bytes, cuts: list[int] | None = None) -> Heard:
    """Speak with a client that sends this, in pieces of these sizes over and over."""
    handshake, replies = Handshake(), b""
    sizes = cuts or [len(stream)]
    turn = 0
    while handshake.wanted and stream:
        size = min(handshake.wanted, sizes[turn % len(sizes)])
        turn += 1
        data, stream = stream[:size], stream[size:]
        try:
            replies += handshake.feed(data)
        except RefusedError as refused:
            return Heard(None, refused.reply, replies, stream)
    return Heard(handshake.request, None, replies, stream)


def version_5(kind: int, address: bytes, port: int, command: int = 1) -> bytes:
    return bytes([5, command, 0, kind]) + address + struct.pack("!H", port)


def named(name: bytes) -> bytes:
    return bytes([len(name)]) + name


def version_4(
    address: str, port: int, user: bytes = b"", name: bytes | None = None, command: int = 1
) -> bytes:
    head = struct.pack("!BBH4s", 4, command, port, IPv4Address(address).packed) + user + b"\x00"
    return head if name is None else head + name + b"\x00"


pieces = st.lists(st.integers(1, 7), min_size=1, max_size=8)


@given(st.ip_addresses(), ports, pieces, st.binary(max_size=20), st.sets(st.integers(1, 255), max_size=9))
def test_version_5_addresses(
    address: IPv4Address | IPv6Address, port: int, cuts: list[int], behind: bytes, others: set[int]
) -> None:
    kind = 1 if address.version == 4 else 4
    methods = bytes([5, len(others) + 1, *others, 0])
    heard = hear(methods + version_5(kind, address.packed, port) + behind, cuts)
    assert heard == Heard(Request(5, TcpAddress(str(address), port)), None, CHOSEN, behind)


@given(names, ports, pieces, st.binary(max_size=20))
def test_version_5_names(name: str, port: int, cuts: list[int], behind: bytes) -> None:
    stream = NO_AUTHENTICATION + version_5(3, named(name.encode()), port) + behind
    assert hear(stream, cuts) == Heard(Request(5, TcpAddress(name, port)), None, CHOSEN, behind)


@given(st.ip_addresses(v=4), ports, users, pieces, st.binary(max_size=20))
def test_version_4_addresses(
    address: IPv4Address, port: int, user: bytes, cuts: list[int], behind: bytes
) -> None:
    if address.packed[:3] == bytes(3) and address.packed[3]:
        return
    heard = hear(version_4(str(address), port, user) + behind, cuts)
    assert heard == Heard(Request(4, TcpAddress(str(address), port)), None, b"", behind)


@given(st.integers(1, 255), names, ports, users, pieces, st.binary(max_size=20))
def test_version_4a_names(
    last: int, name: str, port: int, user: bytes, cuts: list[int], behind: bytes
) -> None:
    heard = hear(version_4(f"0.0.0.{last}", port, user, name.encode()) + behind, cuts)
    assert heard == Heard(Request(4, TcpAddress(name, port)), None, b"", behind)


@given(st.binary(max_size=700), pieces)
def test_whatever_comes_ends_in_bounds(stream: bytes, cuts: list[int]) -> None:
    heard = hear(stream, cuts)
    again = hear(stream)
    assert (heard.request, heard.refusal, heard.unread) == (again.request, again.refusal, again.unread)
    # Not decided yet is only who has not said enough.
    assert heard.request or heard.refusal is not None or not heard.unread
    assert len(stream) - len(heard.unread) < 600


def test_the_longest_name() -> None:
    name = "n" * 255
    heard = hear(NO_AUTHENTICATION + version_5(3, named(name.encode()), 80))
    assert heard.request == Request(5, TcpAddress(name, 80))
    assert hear(version_4("0.0.0.1", 80, b"u" * 255, name.encode())).request is not None


def test_texts_of_version_4_have_an_end() -> None:
    assert hear(version_4("127.0.0.1", 80, b"u" * 256)).refusal == b"\x00\x5b" + bytes(6)
    assert hear(version_4("0.0.0.1", 80, b"", b"n" * 256)).refusal == b"\x00\x5b" + bytes(6)


def test_a_client_that_only_logs_in_is_told_so() -> None:
    heard = hear(b"\x05\x01\x02")
    assert (heard.refusal, heard.replies) == (b"\x05\xff", b"")
    assert hear(b"\x05\x00").refusal == b"\x05\xff"


@pytest.mark.parametrize("command", [0, 2, 3, 255])
def test_only_connect_is_done(command: int) -> None:
    heard = hear(NO_AUTHENTICATION + version_5(1, bytes(4), 80, command))
    assert (heard.refusal, heard.replies) == (b"\x05\x07\x00\x01" + bytes(6), CHOSEN)
    assert hear(version_4("127.0.0.1", 80, command=command)).refusal == b"\x00\x5b" + bytes(6)


@pytest.mark.parametrize(
    "name", [b"", b"\xff\xfe", b"a\x00b", b"a b", b"a\nb", b"\xe2\x80\xae"], ids=lambda name: repr(name)
)
def test_what_is_no_name_cannot_be_reached(name: bytes) -> None:
    assert hear(NO_AUTHENTICATION + version_5(3, named(name), 80)).refusal == b"\x05\x04\x00\x01" + bytes(6)


def test_unknown_kinds_of_address_and_a_second_version() -> None:
    assert hear(NO_AUTHENTICATION + b"\x05\x01\x00\x02").refusal == b"\x05\x08\x00\x01" + bytes(6)
    assert hear(NO_AUTHENTICATION + b"\x04\x01\x00\x01").refusal == b"\x05\x01\x00\x01" + bytes(6)


@pytest.mark.parametrize("request_line", [b"GET http://a/ HTTP/1.1\r\n", b"CONNECT a:443 HTTP/1.1\r\n"])
def test_http_is_told_that_this_is_none(request_line: bytes) -> None:
    refusal = hear(request_line).refusal
    assert refusal is not None
    head, _, body = refusal.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 501 ")
    assert b"Content-Length: %d" % len(body) in head
    assert b"socks5h://" in body


@pytest.mark.parametrize("first", [0, 1, 3, 6, 22, 255])
def test_unknown_versions_hear_nothing(first: int) -> None:
    assert hear(bytes([first]) + bytes(300)).refusal == b""


def test_replies() -> None:
    target = TcpAddress("h", 1)
    assert Request(5, target).granted() == b"\x05\x00\x00\x01" + bytes(6)
    assert Request(4, target).granted() == b"\x00\x5a" + bytes(6)
    codes = [
        Request(5, target).refused(why)[1] for why in ("general", "not-allowed", "unreachable", "refused")
    ]
    assert codes == [1, 2, 4, 5]
    assert Request(4, target).refused("refused") == b"\x00\x5b" + bytes(6)
