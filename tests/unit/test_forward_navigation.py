"""What counts as a browser's navigation, whatever arrives and in whichever pieces."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtunnel.forward.navigation import MAX_HEAD, is_navigation

#: What Chromium 140 sends for an address that was typed.
CHROMIUM = (
    b"GET /lab?token=0123abcd HTTP/1.1\r\n"
    b"Host: localhost:8888\r\n"
    b"Connection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"\r\n'
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n"
    b"Sec-Fetch-Site: none\r\n"
    b"Sec-Fetch-Mode: navigate\r\n"
    b"Sec-Fetch-User: ?1\r\n"
    b"Sec-Fetch-Dest: document\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Cookie: _xsrf=2|1234; username-localhost-8888=xyz\r\n\r\n"
)
#: A browser of before 2019, and `curl -H 'Accept: text/html'`.
PLAIN = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8888\r\nAccept: text/html\r\n\r\n"


def with_field(line: bytes) -> bytes:
    return PLAIN[:-2] + line + b"\r\n\r\n"


def replaced(name: bytes, value: bytes) -> bytes:
    return re.sub(rb"(?m)^" + name + rb": .*\r$", name + b": " + value + b"\r", CHROMIUM)


@pytest.mark.parametrize(
    "head",
    [
        CHROMIUM,
        PLAIN,
        b"GET / HTTP/1.0\r\nAccept: text/html\r\n\r\n",
        b"GET /lab HTTP/1.1\r\nhost:localhost\r\nACCEPT:\ttext/plain ,  Text/HTML;level=1 \r\n\r\n",
        b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: [::1]:8888\r\nAccept: text/html\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: gpu.localhost:8888\r\nAccept: image/png\r\nAccept: text/html\r\n\r\n",
        CHROMIUM + b"GET / HTTP/1.1\r\n",
        # Our own page asks whether it is still needed.
        b"GET / HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Mode: cors\r\nX-Jtunnel: waiting\r\n\r\n",
    ],
)
def test_navigations(head: bytes) -> None:
    assert is_navigation(head) is True


@pytest.mark.parametrize(
    "head",
    [
        CHROMIUM.replace(b"GET", b"POST", 1),
        CHROMIUM.replace(b"GET", b"HEAD", 1),
        CHROMIUM.replace(b"GET ", b"get ", 1),
        replaced(b"Accept", b"*/*"),
        replaced(b"Accept", b"application/json, text/htmlx"),
        replaced(b"Sec-Fetch-Mode", b"cors"),
        replaced(b"Sec-Fetch-Mode", b"websocket"),
        replaced(b"Sec-Fetch-Dest", b"iframe"),
        replaced(b"Sec-Fetch-Dest", b"empty"),
        replaced(b"Host", b"evil.example:8888"),
        replaced(b"Host", b"localhost.evil.example"),
        with_field(b"Upgrade: websocket\r\nConnection: Upgrade"),
        with_field(b"Purpose: prefetch"),
        with_field(b"Sec-Purpose: prefetch;prerender"),
        with_field(b"X-Purpose: preview"),
        with_field(b"no colon"),
        with_field(b"Bad Name: x"),
        with_field(b" folded"),
        b"GET http://localhost/ HTTP/1.1\r\nAccept: text/html\r\n\r\n",
        b"GET  / HTTP/1.1\r\nAccept: text/html\r\n\r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET /\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\r\n" + PLAIN,
        PLAIN.replace(b"\r\n", b"\n") + bytes(MAX_HEAD),
        with_field(b"Cookie: " + b"x" * MAX_HEAD),
    ],
)
def test_everything_else(head: bytes) -> None:
    assert is_navigation(head) is False


@pytest.mark.parametrize("head", [CHROMIUM, PLAIN])
def test_incomplete_heads_are_undecided(head: bytes) -> None:
    assert {is_navigation(head[:size]) for size in range(len(head))} == {None}


@pytest.mark.parametrize("head", [b"PRI", b"\x16", b"POST", b"GETX", b" ", b"GET / HTTP/2\r\n"])
def test_what_cannot_become_one_is_decided_early(head: bytes) -> None:
    assert is_navigation(head) is False


def test_a_head_may_fill_its_room_and_no_more() -> None:
    room = MAX_HEAD - len(with_field(b"Cookie: "))
    assert is_navigation(with_field(b"Cookie: " + b"x" * room)) is True
    assert is_navigation(with_field(b"Cookie: " + b"x" * (room + 1))) is False


#: Bytes of which requests consist, in any order, and any bytes at all.
PIECES = st.lists(
    st.sampled_from(
        [
            b"GET ",
            b"/",
            b" HTTP/1.1",
            b"\r\n",
            b"\n",
            b"Accept: text/html",
            b"Host: localhost",
            b":",
            b" ",
            b"x",
        ]
    )
    | st.binary(max_size=20)
).map(b"".join)
STREAMS = st.binary() | PIECES | PIECES.map(lambda tail: PLAIN[:-2] + tail) | st.just(CHROMIUM)


@given(STREAMS, st.binary())
def test_any_bytes_are_judged_and_a_judgement_stands(stream: bytes, more: bytes) -> None:
    verdict = None
    for size in range(len(stream) + 1):
        now = is_navigation(stream[:size])
        assert verdict in (None, now)
        verdict = now
    if verdict is not None:
        assert is_navigation(stream + more) is verdict


@given(st.binary(max_size=64), st.integers(0, 64))
def test_long_streams_are_always_decided(piece: bytes, count: int) -> None:
    stream = PLAIN[:-2] + b"X: " + piece * count
    stream += b"x" * max(0, MAX_HEAD - len(stream))
    assert is_navigation(stream) is not None
    assert is_navigation(stream) is is_navigation(stream + piece)
