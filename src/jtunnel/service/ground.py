"""What the remote offers for a start, as a value."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.errors import ServerError
from jtunnel.service.script import file_name
from jtunnel.service.survey import LOOPBACK

#: Ports that no kernel hands out by itself (Linux begins at 32768, macOS at 49152).
_PORTS: Final = range(20000, 32000)


@dataclass(frozen=True, slots=True)
class Ground:
    """What the remote offers for a start.

    `versions` maps distribution names → versions, and is empty where they are unknown.
    `environment_name` is the file that holds the environment to start in, or what differs from the login's.
    `socket_dir` is None where the node has no safe place for sockets. `names` is what else the node is
    called. `environment` is the directory of the Python environment, or empty. `has_tornado_settings`: a
    config file of Jupyter's sets them.
    """

    node: str
    uid: int
    log: str
    program: str
    interpreter: str
    versions: Mapping[str, str]
    environment_name: str
    root_dir: str
    socket_dir: str | None
    sockets_refused: bool
    ports: Collection[int]
    names: tuple[str, ...] = ()
    environment: str = ""
    has_tornado_settings: bool = False

    def free_port(self) -> TcpAddress:
        """A loopback port that nobody listens on now."""
        return TcpAddress(LOOPBACK, secrets.choice([port for port in _PORTS if port not in self.ports]))

    def new_socket(self, table: str, key: str) -> UnixAddress:
        """A name for a socket that nobody else can reach; raises ServerError where no place is safe."""
        if self.socket_dir is None:
            raise ServerError(
                "jupyter-failed",
                f"{self.node} has no safe directory for a socket: /tmp/jtunnel-{self.uid} is not yours alone",
                f'remove it, or set listen = "tcp" or a port in {table}',
            )
        # A new name each time: an earlier server may still listen under the old one.
        return UnixAddress(f"{self.socket_dir}/jupyter-{file_name(key)}-{secrets.token_hex(3)}.sock")
