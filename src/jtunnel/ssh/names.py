"""The addresses of a host name, asked of the system's resolver. What it says is never final."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from jtunnel.ssh.own_thread import OwnThreads

#: Seconds that the system's resolver has for one name.
NAME_TIMEOUT_S: Final = 5.0
_AT_ONCE: Final = 8
_MOST_THREADS: Final = 32
#: With one name: where some of them hang, another may be answered all the same.
_MOST_EACH: Final = 8
#: Seconds until the same is asked once more beside it, and then again: the system itself repeats a question
#: that got lost only after 5 s, and just after a network has come back the first one often is.
_PATIENCE_S: Final = (0.5, 1.0, 1.5, 1.5, None)

#: As socket.getaddrinfo has it: family, kind, protocol, canonical name, socket address.
AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
#: Asks the system: host, port and address family.
Resolver = Callable[[str, int, int], list[AddressInfo]]


def ask_system(host: str, port: int, family: int) -> list[AddressInfo]:
    """What getaddrinfo(3) says; blocks. Raises socket.gaierror."""
    try:
        return list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "no possible name") from None


class Names:
    """Looks names up in a few threads, NAME_TIMEOUT_S each: one that hangs holds no other up for long."""

    def __init__(self, resolver: Resolver = ask_system, limit_s: float = NAME_TIMEOUT_S) -> None:
        self._resolver = resolver
        self._threads = OwnThreads(
            at_once=_AT_ONCE, limit_s=limit_s, most=_MOST_THREADS, most_each=_MOST_EACH
        )

    async def look_up(self, host: str, port: int, family: int) -> list[AddressInfo]:
        """The addresses of a name, best first, or a literal address itself; never an empty list.

        Raises socket.gaierror, and TimeoutError where nothing was said in time.
        """
        if literal := _literal(host, port, family):
            return literal
        call = partial(self._resolver, host, port, family)
        asked: list[asyncio.Future[list[AddressInfo]]] = []
        try:
            for turn, patience_s in enumerate(_PATIENCE_S):
                if turn == 0 or self._threads.has_room:
                    question = (host, port, family, turn)
                    asked.append(asyncio.ensure_future(self._threads.ask(question, call)))
                await asyncio.wait(asked, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
                if any(answer.done() for answer in asked):
                    break
            return next(answer for answer in asked if answer.done()).result()
        finally:
            for answer in asked:
                answer.cancel()
                answer.add_done_callback(_heed)


def _heed(answer: asyncio.Future[list[AddressInfo]]) -> None:
    """Look at an answer that nobody needs any more, lest asyncio complains of it."""
    if not answer.cancelled():
        answer.exception()


def _literal(host: str, port: int, family: int) -> list[AddressInfo]:
    """The address itself, where `host` is one: the system then has nobody to ask."""
    try:
        return list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    except (socket.gaierror, UnicodeError):
        return []
