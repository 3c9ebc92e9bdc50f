"""What is known of one remote Jupyter server, and what can go wrong when it is asked. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jtunnel.address import Address
from jtunnel.errors import ServerError
from jtunnel.status import Origin

UserInterface = Literal["lab", "tree", ""]


@dataclass(frozen=True, slots=True)
class Server:
    """A Jupyter server process and the way to it.

    `started` is the process's start time as the remote tells it; together with `host` (the node's
    `uname -n`) and `pid` it names the process for good. `base_url` begins and ends with a slash.
    `names` are other names of that node that may lead there: its full one, the address that a login came to.
    `environment` is the directory of its Python environment, empty where that is not known. A `secure` one
    speaks TLS with a certificate whose SHA-256 fingerprint, in hexadecimal digits, is `certificate`.
    `answering` is False for a recorded server that lives but has not answered: `start` waits for it.
    """

    target: Address
    base_url: str
    token: str = field(repr=False)
    pid: int
    started: str
    host: str
    version: str | None
    root_dir: str
    origin: Origin
    password: bool = False
    log: str | None = None
    user_interface: UserInterface = "lab"
    answering: bool = True
    names: tuple[str, ...] = ()
    environment: str = ""
    secure: bool = False
    certificate: str = ""

    @property
    def path_for_browser(self) -> str:
        """The path of its first page: `/lab`, or `/tree` where only notebook or classic runs."""
        return self.base_url + self.user_interface

    @property
    def asks_password_only(self) -> bool:
        """No token opens its API: nothing but its version can be asked."""
        return self.password and not self.token


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said of itself; None stands for what could not be asked.

    `busy` counts those kernels that are at work. `last_activity` is ISO 8601 in UTC.
    """

    version: str | None = None
    kernels: int | None = None
    busy: int | None = None
    last_activity: str | None = None


class NobodyListensError(ServerError):
    """The far side refused the channel: nobody listens there, or (sockets only) sshd will not forward."""


class NoAnswerError(ServerError):
    """Somebody accepted the connection and did not answer, or not in time."""


class StrangerError(ServerError):
    """Somebody else answers: not Jupyter, another user's, or one that refuses the token."""


class ElsewhereError(ServerError):
    """The server lives on another node than the connection led to.

    `node` is that node as recorded (its `uname -n`); `names` are others that may lead there, none for what
    older versions recorded.
    """

    def __init__(self, server: Server, here: str, advice: str, *, key: str = "", where: str = "") -> None:
        subject = f"the Jupyter server of {key}" if key else "the Jupyter server"
        way = where or "this connection"
        super().__init__("server-gone", f"{subject} lives on {server.host}, and {way} led to {here}", advice)
        self.node = server.host
        self.names = server.names
