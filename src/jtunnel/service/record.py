"""The state record that we keep beside a server, and Jupyter's runtime files: JSON to values and back.

No I/O. A record has one member a line, which our scripts read without a JSON parser; it holds no token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.errors import one_line
from jtunnel.service.server import Server, UserInterface
from jtunnel.status import Origin

_ORIGINS: Final[dict[str, Origin]] = {"started": "started", "adopted": "adopted"}
#: Names of a node, which may come to be connected to.
_NODE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:%-]{0,252}")
_INTERFACES: Final[dict[str, UserInterface]] = {"lab": "lab", "tree": "tree", "": ""}


@dataclass(frozen=True, slots=True)
class Record:
    """What we wrote down of a server, whose token is empty here.

    `command` is what it was started with, None for an adopted one. `ready` is False until it has
    answered for the first time: before that, nobody can have used it.
    """

    server: Server
    command: str | None
    ready: bool


def record_text(record: Record) -> str:
    """The whole file."""
    head = {"pid": record.server.pid, "started": record.server.started}
    return json.dumps({**head, **_members(record)}, indent=1, ensure_ascii=False)


def record_tail(record: Record) -> str:
    """The file from its third member on, for the script that learns pid and start time by starting it."""
    return json.dumps(_members(record), indent=1, ensure_ascii=False).removeprefix("{\n")


def _members(record: Record) -> dict[str, Any]:
    server = record.server
    tcp = server.target if isinstance(server.target, TcpAddress) else None
    unix = server.target if isinstance(server.target, UnixAddress) else None
    return {
        "host": server.host,
        "names": " ".join(server.names),
        "address": tcp.host if tcp else None,
        "port": tcp.port if tcp else None,
        "sock": unix.path if unix else None,
        "base_url": server.base_url,
        "version": server.version,
        "root_dir": server.root_dir,
        "environment": server.environment,
        "secure": server.secure,
        "certificate": server.certificate,
        "origin": server.origin,
        "password": server.password,
        "log": server.log,
        "user_interface": server.user_interface,
        "command": record.command,
        "ready": record.ready,
    }


def parse_record(data: bytes | None) -> Record | None:
    """Read a record; None where there is none, or one that is broken or of another version.

    What is only shown is made printable; what is used as it is must be.
    """
    members = _object(data)
    try:
        sock, port = members["sock"], members["port"]
        server = Server(
            target=UnixAddress(_plain(sock)) if sock else TcpAddress(_plain(members["address"]), int(port)),
            base_url=_plain(members["base_url"]),
            token="",
            pid=int(members["pid"]),
            started=str(members["started"]),
            host=one_line(members["host"]),
            version=_shown(members["version"]),
            root_dir=one_line(members["root_dir"]),
            origin=_ORIGINS[members["origin"]],
            password=bool(members["password"]),
            log=_shown(members["log"]),
            user_interface=_INTERFACES[members["user_interface"]],
            # Records of version 0.1 have none of these.
            names=node_names(str(members.get("names", "")).split()),
            environment=one_line(members.get("environment", "")),
            secure=bool(members.get("secure")),
            certificate=_plain(members.get("certificate", "")),
        )
        return Record(server, members["command"], bool(members["ready"]))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class RuntimeFile:
    """What a server wrote of itself; `port` is 0 for one on a Unix socket, `sock` empty for TCP.

    `path` is the file, `written_s` when it was written, in seconds since 1970, None where that is not known.
    """

    pid: int
    started: str
    classic: bool
    base_url: str
    port: int
    sock: str
    token: str
    password: bool
    secure: bool
    root_dir: str
    version: str | None
    path: str = ""
    written_s: float | None = None


def parse_runtime_file(pid: int, started: str, kind: str, data: bytes) -> RuntimeFile | None:
    """Read jpserver-PID.json or (kind `nb`) classic nbserver-PID.json; None while it is half-written."""
    members = _object(data)
    try:
        # A copy of another's file tells nothing of this process.
        if int(members.get("pid", pid)) != pid or not 0 <= int(members["port"]) < 65536:
            return None
        return RuntimeFile(
            pid=pid,
            started=started,
            classic=kind == "nb",
            base_url=_plain(members["base_url"]).rstrip("/") + "/",
            port=int(members["port"]),
            sock=_plain(members.get("sock") or ""),
            token=_plain(str(members.get("token") or "")),
            password=bool(members.get("password")),
            secure=bool(members.get("secure")),
            root_dir=str(members.get("root_dir") or members.get("notebook_dir") or ""),
            version=_shown(members.get("version")),
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return None


def node_names(told: Iterable[str]) -> tuple[str, ...]:
    """Those of a node's names that can be ones, and lead to no loopback."""
    return tuple(
        name
        for name in told
        if _NODE_NAME.fullmatch(name) and not name.startswith(("localhost", "127.")) and name != "::1"
    )


def _plain(text: str) -> str:
    """Text that goes into addresses. Raises ValueError where it could steer a terminal."""
    if not text.isprintable():
        raise ValueError("it has control characters")
    return text


def _shown(text: str | None) -> str | None:
    return None if text is None else one_line(text)


def _object(data: bytes | None) -> dict[str, Any]:
    try:
        document = json.loads(data or b"")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
