"""Local ports picked once and kept for ever: browsers tie logins and layouts to the port."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Collection


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
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=os.path.dirname(self._path), delete=False
        ) as file:
            json.dump(self._ports, file, indent=1, sort_keys=True)
        os.replace(file.name, self._path)


def _pick(taken: Collection[int]) -> int:
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        if port not in taken:
            return port
