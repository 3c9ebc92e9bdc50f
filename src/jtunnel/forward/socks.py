"""The proxy's side of SOCKS 4, 4a and 5 (RFC 1928), up to the request: bytes in, request and replies out.

CONNECT only, without authentication. Names are left to the far side to be looked up. No I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal

from jtunnel.address import TcpAddress

#: Why a request is not granted.
Refusal = Literal["general", "not-allowed", "unreachable", "refused", "no-command", "no-address-type"]

_VERSION_4: Final = 4
_VERSION_5: Final = 5
_CONNECT: Final = 1
_NO_AUTHENTICATION: Final = 0
_IPV4, _NAME, _IPV6 = 1, 3, 4
#: RFC 1928 §6; version 4 has one code for all of them.
_CODES_5: Final[dict[Refusal, int]] = {
    "general": 1,
    "not-allowed": 2,
    "unreachable": 4,
    "refused": 5,
    "no-command": 7,
    "no-address-type": 8,
}
_GRANTED_4, _REFUSED_4 = 90, 91
#: Bytes of a text in version 4, which has no limit; a name has at most so many in version 5.
_LONGEST_TEXT: Final = 255

_NOT_HTTP: Final = (
    b"This is a SOCKS proxy and no HTTP proxy: tell your program socks5h:// in place of http://\n"
)
_HTTP_ANSWER: Final = (
    b"HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_NOT_HTTP), _NOT_HTTP)
)

#: Yields how many bytes are wanted next and what is to be sent before them; is sent exactly so many.
_Talk = Generator[tuple[int, bytes], bytes, "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """Where a client wants to be connected to, and what it is told then."""

    version: int
    target: TcpAddress

    def granted(self) -> bytes:
        """The reply after which bytes flow."""
        if self.version == _VERSION_4:
            return _reply_4(_GRANTED_4)
        return _reply_5(0)

    def refused(self, refusal: Refusal) -> bytes:
        """The reply before the close."""
        return _refusal(self.version, refusal)


class RefusedError(Exception):
    """What a client says is not for this proxy; `reply` is to be sent to it before the close."""

    def __init__(self, reply: bytes) -> None:
        super().__init__()
        self.reply = reply


class Handshake:
    """One client's. Feed it at most `wanted` bytes at a time, so that nothing behind the request is taken.

    `request` is there once `wanted` is 0.
    """

    def __init__(self) -> None:
        self.request: Request | None = None
        self._talk: _Talk = _converse()
        self._size, _ = next(self._talk)
        self._got = b""

    @property
    def wanted(self) -> int:
        """How many bytes may be read now."""
        return self._size - len(self._got)

    def feed(self, data: bytes) -> bytes:
        """Take in what the client sent; return what to send to it. Raises RefusedError."""
        self._got += data
        if self.wanted:
            return b""
        part, self._got = self._got, b""
        try:
            self._size, reply = self._talk.send(part)
        except StopIteration as end:
            self._size, self.request = 0, end.value
            return b""
        return reply


def _converse() -> _Talk:
    version = (yield 1, b"")[0]
    if version == _VERSION_5:
        return (yield from _converse_5())
    if version == _VERSION_4:
        return (yield from _converse_4())
    # Every HTTP request begins with a method in capital letters.
    raise RefusedError(_HTTP_ANSWER if chr(version) in "ACDGHLMOPTU" else b"")


def _converse_5() -> _Talk:
    count = (yield 1, b"")[0]
    methods = (yield count, b"") if count else b""
    if _NO_AUTHENTICATION not in methods:
        raise RefusedError(b"\x05\xff")
    version, command, _, kind = yield 4, b"\x05\x00"
    if version != _VERSION_5:
        raise RefusedError(_refusal(_VERSION_5, "general"))
    if kind == _IPV4:
        host = str(IPv4Address((yield 4, b"")))
    elif kind == _IPV6:
        host = str(IPv6Address((yield 16, b"")))
    elif kind == _NAME:
        size = (yield 1, b"")[0]
        host = _read_name(_VERSION_5, (yield size, b"") if size else b"")
    else:
        raise RefusedError(_refusal(_VERSION_5, "no-address-type"))
    (port,) = struct.unpack("!H", (yield 2, b""))
    return _request(_VERSION_5, command, host, port)


def _converse_4() -> _Talk:
    command, port, packed = struct.unpack("!BH4s", (yield 7, b""))
    yield from _read_text()  # the user's name, which nobody asked for
    host = str(IPv4Address(packed))
    if packed[:3] == b"\x00\x00\x00" and packed[3]:  # version 4a
        host = _read_name(_VERSION_4, (yield from _read_text()))
    return _request(_VERSION_4, command, host, port)


def _read_text() -> Generator[tuple[int, bytes], bytes, bytes]:
    """What comes before the next zero byte, read byte by byte: what follows is not ours."""
    text = b""
    while (byte := (yield 1, b"")) != b"\x00":
        text += byte
        if len(text) > _LONGEST_TEXT:
            raise RefusedError(_refusal(_VERSION_4, "general"))
    return text


def _read_name(version: int, data: bytes) -> str:
    try:
        name = data.decode()
    except UnicodeDecodeError:
        name = ""
    if not name or not name.isprintable() or " " in name:
        raise RefusedError(_refusal(version, "unreachable"))
    return name


def _request(version: int, command: int, host: str, port: int) -> Request:
    if command != _CONNECT:
        raise RefusedError(_refusal(version, "no-command"))
    return Request(version, TcpAddress(host, port))


def _refusal(version: int, refusal: Refusal) -> bytes:
    return _reply_4(_REFUSED_4) if version == _VERSION_4 else _reply_5(_CODES_5[refusal])


def _reply_4(code: int) -> bytes:
    return bytes([0, code]) + bytes(6)


def _reply_5(code: int) -> bytes:
    """The address that the far side connected from is not known: none is named, as ssh(1) does."""
    return bytes([_VERSION_5, code, 0, _IPV4]) + bytes(6)
