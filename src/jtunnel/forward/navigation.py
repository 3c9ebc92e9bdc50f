"""Is what a connection has sent so far a browser on its way to a page that a person wants to see?

Looks at a copy of the first bytes and takes none of them away. Knows as much of HTTP/1 as that needs.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

#: Bytes in which a request's head has to end; browsers send one or two KiB.
MAX_HEAD: Final = 16384
#: The header with which our own waiting page asks whether it is still needed: it does so by script,
#: and a browser lets no script say that it navigates.
MARK: Final = b"x-jtunnel"

_METHOD: Final = b"GET "
_REQUEST_LINE: Final = re.compile(rb"GET /[^\x00-\x20\x7f]* HTTP/1\.\d")
_FIELD_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Where browsers say that they only fetch ahead what a person may never look at.
_AHEAD: Final = (b"purpose", b"sec-purpose", b"x-purpose", b"x-moz")


def peek(sock: socket.socket) -> bytes:
    """What has arrived at a socket that does not block, as far as a head may reach; it stays there."""
    try:
        return sock.recv(MAX_HEAD, socket.MSG_PEEK)
    except OSError:
        return b""


def is_navigation(head: bytes) -> bool | None:
    """Judge the first bytes of a stream; None where more of them are needed to tell.

    What is once decided stays so, whatever follows those bytes. Never raises.
    """
    if not head.startswith(_METHOD[: len(head)]):
        return False
    head = head[:MAX_HEAD]
    line_end = head.find(b"\r\n")
    if line_end >= 0 and not _REQUEST_LINE.fullmatch(head, 0, line_end):
        return False
    end = head.find(b"\r\n\r\n")
    if end < 0:
        return None if len(head) < MAX_HEAD else False
    fields = _parse(head[line_end + 2 : end])
    return fields is not None and _wants_page(fields)


def _parse(lines: bytes) -> Mapping[bytes, bytes] | None:
    """The fields by their names in lower case, None where one is malformed (RFC 9112 §5)."""
    fields: dict[bytes, bytes] = {}
    for line in lines.split(b"\r\n") if lines else ():
        name, colon, value = line.partition(b":")
        if not (colon and _FIELD_NAME.fullmatch(name)):
            return None
        name, value = name.lower(), value.strip(b" \t")
        fields[name] = fields[name] + b", " + value if name in fields else value
    return fields


def _wants_page(fields: Mapping[bytes, bytes]) -> bool:
    if not _is_this_machine(fields.get(b"host", b"localhost")) or b"upgrade" in fields:
        return False
    if MARK in fields:
        return True
    accepted = fields.get(b"accept", b"").lower().split(b",")
    return (
        any(kind.partition(b";")[0].strip() == b"text/html" for kind in accepted)
        # Old browsers send neither (https://www.w3.org/TR/fetch-metadata/).
        and fields.get(b"sec-fetch-mode", b"navigate") == b"navigate"
        and fields.get(b"sec-fetch-dest", b"document") == b"document"
        and not any(b"pre" in fields.get(name, b"").lower() for name in _AHEAD)
    )


def _is_this_machine(host: bytes) -> bool:
    """Whether a Host header names a machine by its address or as localhost, as Jupyter demands.

    By any other name, a page from elsewhere could have come to this port by DNS rebinding, to read
    what is not its own.
    """
    name = re.sub(rb":\d*$", b"", host).lower().decode("latin-1")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
