"""The framing of the control protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jtunnel import wire


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            wire.request(1, "status", {"names": ["ä\n"]}),
            {"id": 1, "method": "status", "params": {"names": ["ä\n"]}},
        ),
        (wire.notification("snapshot", {}), {"method": "snapshot", "params": {}}),
        (wire.result("a", None), {"id": "a", "result": None}),
        (wire.failure(None, -32700, "no"), {"id": None, "error": {"code": -32700, "message": "no"}}),
        (
            wire.failure(2, wire.PROBLEM, "no", {"kind": "not-up"}),
            {"id": 2, "error": {"code": wire.PROBLEM, "message": "no", "data": {"kind": "not-up"}}},
        ),
    ],
)
def test_messages_are_one_line_and_read_back(line: bytes, expected: dict[str, Any]) -> None:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert wire.decode(line) == {"jsonrpc": "2.0", **expected}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", wire.PARSE_ERROR),
        (b"{", wire.PARSE_ERROR),
        (b"\xff\xfe", wire.PARSE_ERROR),
        (b"[" * 100_000, wire.PARSE_ERROR),
        (b"[]", wire.INVALID_REQUEST),
        (b"null", wire.INVALID_REQUEST),
        (b'{"method": "status"}', wire.INVALID_REQUEST),
        (b'{"jsonrpc": "1.0", "method": "status"}', wire.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1}', wire.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "method": 3}', wire.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "method": "status", "params": []}', wire.INVALID_REQUEST),
    ],
)
def test_what_is_no_message_is_refused(line: bytes, code: int) -> None:
    with pytest.raises(wire.WireError) as caught:
        wire.decode(line)
    assert caught.value.code == code


def test_unknown_members_are_let_through() -> None:
    message = {"jsonrpc": "2.0", "method": "status", "later": 1}
    assert wire.decode(json.dumps(message).encode()) == message
