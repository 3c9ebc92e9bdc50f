"""The control protocol's framing: JSON-RPC 2.0, one message a line, UTF-8. No I/O; stdlib only.

`docs/protocol.md` describes it for people; a test holds the two against each other.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

#: Raised by one when an old peer would misunderstand a new one.
PROTOCOL_VERSION: Final = 1
#: Bytes in one line, its newline included.
MAX_LINE: Final = 1024 * 1024

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
#: A `jtunnel.errors.JTunnelError`; its problem travels as the error's `data`.
PROBLEM: Final = -32000

#: What a client may ask → the parameters each takes.
METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "hello": ("protocol", "version"),
    "status": ("names", "tags"),
    "watch": ("names", "tags"),
    "up": ("names", "tags", "all", "interactive"),
    "down": ("names", "tags", "all"),
    "restart": ("names", "tags", "all", "interactive"),
    "url": ("name",),
    "page": ("name",),
    "stop": ("name", "force", "pid"),
    "restart_server": ("name", "force"),
    "servers": ("name", "interactive"),
    "adopt": ("name", "which", "interactive"),
    "setup": ("name", "wishes", "password", "apply", "interactive"),
    "remote_log": ("name", "lines", "position"),
    "forward": ("name", "spec", "kind", "label"),
    "unforward": ("name", "spec"),
    "history": ("names", "tags"),
    "rename": ("name", "to"),
    "reload": (),
    "shutdown": (),
}
#: What the daemon may ask a client, or tell it → the parameters each carries.
CLIENT_METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "prompt": ("tunnel", "kind", "message", "echo"),
    "snapshot": ("document",),
}


class WireError(Exception):
    """A line that is no JSON-RPC message; `code` is JSON-RPC's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def encode(message: Mapping[str, Any]) -> bytes:
    """One message as one line, newline included."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"


def request(identifier: int, method: str, params: Mapping[str, Any]) -> bytes:
    """A call that wants an answer."""
    return encode({"jsonrpc": "2.0", "id": identifier, "method": method, "params": params})


def notification(method: str, params: Mapping[str, Any]) -> bytes:
    """A call that wants none."""
    return encode({"jsonrpc": "2.0", "method": method, "params": params})


def result(identifier: Any, value: Any) -> bytes:
    """The answer to a call."""
    return encode({"jsonrpc": "2.0", "id": identifier, "result": value})


def failure(identifier: Any, code: int, message: str, data: Any = None) -> bytes:
    """The answer to a call that failed; `identifier` is None where the call had none to read."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return encode({"jsonrpc": "2.0", "id": identifier, "error": error})


def decode(line: bytes) -> dict[str, Any]:
    """Read one line.

    Raises WireError where it is not UTF-8 JSON (PARSE_ERROR) or no JSON-RPC 2.0 object
    (INVALID_REQUEST); batches are not part of this protocol.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise WireError(PARSE_ERROR, "not a line of JSON") from None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise WireError(INVALID_REQUEST, "not a JSON-RPC 2.0 object")
    if not ("method" in message or "result" in message or "error" in message):
        raise WireError(INVALID_REQUEST, "neither a call nor an answer")
    if not isinstance(message.get("id"), str | int | float | None):
        raise WireError(INVALID_REQUEST, "id is neither a number nor a string")
    if not isinstance(message.get("method", ""), str):
        raise WireError(INVALID_REQUEST, "method is not a string")
    if not isinstance(message.get("params", {}), dict):
        raise WireError(INVALID_REQUEST, "params is not an object")
    return message
