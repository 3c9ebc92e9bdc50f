"""What a tunnel needs of the remote server that it leads to, whatever kind of server that is.

Jupyter is one with special knowledge (`jtunnel.jupyter.jupyter`), the others are `plain`. Types only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from jtunnel.address import Address
from jtunnel.errors import ServerError
from jtunnel.remote import Remote
from jtunnel.service.ground import Ground
from jtunnel.service.record import Record
from jtunnel.service.script import Kind
from jtunnel.service.search import Wish
from jtunnel.service.server import Answer, Server, UserInterface
from jtunnel.service.survey import Survey

#: Is told each step of a start in a few words.
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """One start: the words of the command, where it will listen, and how it learns its token.

    `token_name` is the environment variable for that, empty for a server without one.
    """

    arguments: tuple[str, ...]
    target: Address
    user_interface: UserInterface
    token_name: str


class Startable(Protocol):
    """What `jtunnel.service.start` asks of a service."""

    @property
    def key(self) -> str:
        """By what its files on the remote are named."""
        ...

    @property
    def name(self) -> str:
        """What a person calls its profile."""
        ...

    @property
    def noun(self) -> str:
        """What messages call it: Jupyter, or the name of its program."""
        ...

    @property
    def kind(self) -> Kind:
        """The folder whose scripts know more of it."""
        ...

    @property
    def is_bound_to_place(self) -> bool:
        """It listens where the config says, or not at all: no other place may be tried."""
        ...

    @property
    def may_start(self) -> bool:
        """It may be started; else only adopted."""
        ...

    def missing(self, survey: Survey) -> ServerError:
        """The problem where there is none, and none may be started."""
        ...

    async def search(self, remote: Remote, wish: Wish) -> Survey:
        """Collect the facts; raises ElsewhereError where another node has it."""
        ...

    def usable_record(self, survey: Survey) -> Record | None:
        """The record of a server that lives here and is the wanted one."""
        ...

    async def prepare(self, remote: Remote) -> Ground:
        """Find out what a start needs; raises ServerError."""
        ...

    def plan(self, ground: Ground) -> Plan:
        """Decide how to start it; raises ServerError."""
        ...

    async def wait_until_ready(self, remote: Remote, server: Server) -> Server:
        """Wait until it serves; returns it with what it says of itself.

        Raises EndedError, SocketRefusedError, other ServerErrors, ChannelError.
        """
        ...


class Service(Protocol):
    """The remote server of one profile: how it is found, started, asked and ended."""

    @property
    def key(self) -> str:
        """By what its files on the remote are named."""
        ...

    @property
    def noun(self) -> str:
        """What messages call it."""
        ...

    @property
    def may_start(self) -> bool:
        """It may be started; else only adopted."""
        ...

    async def find(self, remote: Remote, wish: Wish) -> Server | None:
        """The server to use, or None where one is to be started.

        One that is recorded and lives comes with `answering` False where it does not answer. Raises
        ElsewhereError, ServerError `…-missing` and ChannelError.
        """
        ...

    async def start(self, remote: Remote, tell: Tell, wish: Wish) -> Server:
        """Start it, or wait for the one that is recorded and lives; raises ServerError and ChannelError."""
        ...

    async def probe(self, remote: Remote, server: Server, *, timeout_s: float) -> Answer:
        """Ask for a sign of life, which does not count as use; raises ServerError or ChannelError."""
        ...

    async def is_still_there(self, remote: Remote, server: Server, *, timeout_s: float) -> bool:
        """Whether it runs, listens and answers over a connection that is new; quick, and never starts it."""
        ...

    async def busy(self, remote: Remote, server: Server) -> int | None:
        """How much is at work in it that its end would break off; None where that cannot be told."""
        ...

    async def stop(self, remote: Remote, server: Server) -> None:
        """End it; returns when its process has ended."""
        ...

    def url(self, server: Server, port: int, *, token: bool) -> str | None:
        """Its address for a browser at the local `port`; None where it has no pages."""
        ...

    def gone(self, server: Server, advice: str) -> ServerError:
        """The problem `server-gone`, in words for this kind."""
        ...
