"""Local ports picked once and kept for ever: browsers tie logins and layouts to the port."""

from __future__ import annotations

import errno
import json
import logging
import socket
from collections.abc import Collection

from jtunnel.daemon.files import replace_file

_log = logging.getLogger(__name__)


class Ports:
    """The file that remembers which port `local_port = "auto"` stands for, by profile name."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._ports = self._read()

    def port_for(self, name: str, taken: Collection[int]) -> int:
        """The port of a profile; a free one outside `taken` the first time. Raises OSError."""
        port = self._ports.get(name)
        if port is None or port in taken:
            port = _pick({*taken, *self._ports.values()})
            self._ports[name] = port
            self._write()
        return port

    def rename(self, old: str, new: str) -> None:
        """A profile has another name, and keeps its port."""
        if old in self._ports:
            self._ports[new] = self._ports.pop(old)
            self._write()

    def _read(self) -> dict[str, int]:
        try:
            with open(self._path, encoding="utf-8") as file:
                content = json.load(file)
        except (OSError, ValueError):
            return {}
        if not isinstance(content, dict):
            return {}
        return {
            str(name): port for name, port in content.items() if isinstance(port, int) and 0 < port < 65536
        }

    def _write(self) -> None:
        try:
            replace_file(self._path, json.dumps(self._ports, indent=1, sort_keys=True))
        except OSError as error:
            # The port is good for now; it may be another after the next start.
            _log.warning("cannot write %s: %s", self._path, error.strerror)


def _pick(taken: Collection[int]) -> int:
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
            if port not in taken and _is_free_on_ipv6(port):
                return port


def _is_free_on_ipv6(port: int) -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", port))
    except OSError as error:
        # A machine without IPv6 has nobody on that port either.
        return error.errno != errno.EADDRINUSE
    return True
