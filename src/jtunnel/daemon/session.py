"""One client at the control socket: reads its calls, answers each, and asks it when a person is needed.

What a client sends can be anything; the worst it does is end its own session.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from jtunnel import __version__, wire
from jtunnel.daemon.commands import Commands
from jtunnel.errors import ControlError, JTunnelError
from jtunnel.ssh.prompts import Question

_log = logging.getLogger(__name__)

#: Calls of one client that may be under way at once.
_MAX_CALLS: Final = 64
#: Seconds between two snapshots to one watcher at least: changes come in bursts.
_SNAPSHOT_GAP_S: Final = 0.03

_TYPES: Final[Mapping[str, type]] = {
    "names": list,
    "tags": list,
    "all": bool,
    "interactive": bool,
    "name": str,
    "force": bool,
    "lines": int,
    "pid": int,
    "position": str,
    "which": str,
    "wishes": dict,
    "password": str,
    "apply": bool,
    "protocol": int,
    "version": str,
    "spec": str,
    "kind": str,
    "label": str,
    "to": str,
}
_TYPE_NAMES: Final[Mapping[type, str]] = {
    list: "a list of strings",
    bool: "true or false",
    str: "a string",
    int: "an integer",
    dict: "an object",
}
#: Parameters that a call cannot do without, by method.
_REQUIRED: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(("url", "page", "stop", "restart_server", "servers"), frozenset({"name"})),
    **dict.fromkeys(("setup", "remote_log", "unforward"), frozenset({"name"})),
    "forward": frozenset({"name", "spec"}),
    "rename": frozenset({"name", "to"}),
    "adopt": frozenset({"name", "which"}),
}


class Session:
    """Serves one client until it leaves."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, commands: Commands
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._commands = commands
        self._writing = asyncio.Lock()
        self._prompting = asyncio.Lock()
        self._asked: dict[int, asyncio.Future[str | None]] = {}
        self._last_id = 0
        self._calls = 0
        self._gone = False
        self._speaks_ours = True
        self._attending = contextlib.ExitStack()
        self._methods: dict[str, Callable[..., Awaitable[Any]]] = {
            "hello": self._hello,
            "watch": self._watch,
            "up": self._up,
            "restart": self._restart,
            "status": commands.status,
            "down": commands.down,
            "url": commands.url,
            "page": commands.page,
            "stop": commands.servers.stop,
            "restart_server": commands.servers.restart_server,
            "servers": self._visiting(commands.servers.servers),
            "adopt": self._visiting(commands.servers.adopt),
            "setup": self._visiting(commands.servers.setup),
            "remote_log": commands.servers.remote_log,
            "forward": commands.forward,
            "unforward": commands.unforward,
            "history": commands.history,
            "rename": commands.rename,
            "reload": commands.reload,
            "shutdown": commands.shutdown,
        }

    async def run(self) -> None:
        """Read and answer until the client leaves or sends what cannot be read on."""
        with self._attending:
            try:
                async with asyncio.TaskGroup() as tasks:
                    await self._read_all(tasks)
                    raise _ClientLeftError
            except* (_ClientLeftError, ConnectionError):
                pass
            finally:
                self._gone = True
                for future in self._asked.values():
                    if not future.done():
                        future.set_result(None)

    async def _read_all(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                line = await self._reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except (asyncio.LimitOverrunError, ValueError):
                await self._send(
                    wire.failure(None, wire.INVALID_REQUEST, f"a line is longer than {wire.MAX_LINE} bytes")
                )
                return
            try:
                message = wire.decode(line)
            except wire.WireError as error:
                await self._send(wire.failure(None, error.code, error.message))
                continue
            if "method" not in message:
                self._take_answer(message)
            elif self._calls >= _MAX_CALLS:
                await self._send(
                    wire.failure(message.get("id"), wire.INVALID_REQUEST, "too many calls at once")
                )
            else:
                self._calls += 1
                tasks.create_task(self._answer(message))

    async def _answer(self, message: Mapping[str, Any]) -> None:
        identifier, method = message.get("id"), message["method"]
        params: dict[str, Any] = {}
        failed = True
        try:
            params = _check_params(method, message.get("params", {}))
            self._check_protocol(method)
            answer = wire.result(identifier, await self._methods[method](**params))
            failed = False
        except wire.WireError as error:
            answer = wire.failure(identifier, error.code, error.message)
        except JTunnelError as error:
            answer = wire.failure(identifier, wire.PROBLEM, error.message, error.problem)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001  (a bug in one call must not end the others)
            _log.exception("the call %s failed", method)
            answer = wire.failure(identifier, wire.INTERNAL_ERROR, "a bug in jtunnel; see `jtunnel logs`")
        finally:
            self._calls -= 1
        if "id" in message:
            await self._send(answer)
        if method == "watch" and not failed:
            await self._send_snapshots(**params)

    def _check_protocol(self, method: str) -> None:
        # A call means what its protocol says; to end a daemon means the same in all of them.
        if not self._speaks_ours and method not in ("hello", "shutdown"):
            raise ControlError(
                "protocol-mismatch",
                f"this daemon (jtunnel {__version__}) speaks another protocol: {wire.PROTOCOL_VERSION}",
                "renew it with: jtunnel service restart",
            )

    async def _send(self, line: bytes) -> None:
        async with self._writing:
            if self._writer.is_closing():
                # asyncio would pass over what is written now, uvloop raises a RuntimeError.
                raise ConnectionResetError
            self._writer.write(line)
            await self._writer.drain()

    async def _hello(self, protocol: int = wire.PROTOCOL_VERSION, version: str = "") -> dict[str, Any]:
        self._speaks_ours = protocol == wire.PROTOCOL_VERSION
        return {"protocol": wire.PROTOCOL_VERSION, "version": __version__, "pid": os.getpid()}

    async def _watch(self, names: list[str] | None = None, tags: list[str] | None = None) -> dict[str, Any]:
        self._commands.match(names, tags)
        return {}

    async def _up(self, interactive: bool = False, **selection: Any) -> dict[str, Any]:
        names = await self._commands.select(**selection)
        return await self._attend(names, interactive, self._commands.up)

    async def _restart(self, interactive: bool = False, **selection: Any) -> dict[str, Any]:
        names = await self._commands.select(**selection)
        return await self._attend(names, interactive, self._commands.restart)

    def _visiting(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """A call that may have to log in first, with somebody to ask if there is one."""

        async def visit(name: str, interactive: bool = False, **params: Any) -> Any:
            if not interactive:
                return await call(name, **params)
            with self._commands.attended([name], self._ask):
                return await call(name, **params)

        return visit

    async def _attend(
        self, names: list[str], interactive: bool, command: Callable[[list[str]], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        # First somebody to ask, then the tries that may have to ask.
        if interactive:
            self._attending.enter_context(self._commands.attended(names, self._ask))
        return await command(names)

    async def _send_snapshots(self, names: list[str] | None = None, tags: list[str] | None = None) -> None:
        """Send the whole status now, and again after each change, for as long as the client stays."""
        while True:
            seen = self._commands.changes.index
            document = self._commands.show(names, tags)
            await self._send(wire.notification("snapshot", {"document": document}))
            await asyncio.sleep(_SNAPSHOT_GAP_S)
            await self._commands.changes.wait(seen)

    async def _ask(self, tunnel: str, question: Question) -> str | None:
        """Put a question to the client's person; None when there is no answer."""
        async with self._prompting:
            if self._gone:
                return None
            self._last_id += 1
            identifier = self._last_id
            future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
            self._asked[identifier] = future
            try:
                await self._send(
                    wire.request(
                        identifier,
                        "prompt",
                        {
                            "tunnel": tunnel,
                            "kind": question.kind,
                            "message": question.message,
                            "echo": question.echo,
                        },
                    )
                )
                return await future
            except ConnectionError:
                return None
            finally:
                del self._asked[identifier]

    def _take_answer(self, message: Mapping[str, Any]) -> None:
        identifier = message.get("id")
        # Anything may stand there: a list, which is no key, or true, which equals 1.
        future = self._asked.get(identifier) if type(identifier) is int else None
        if future is None or future.done():
            return
        result = message.get("result")
        answer = result.get("answer") if isinstance(result, dict) else None
        future.set_result(answer if isinstance(answer, str) else None)


class _ClientLeftError(Exception):
    """The client is gone; what it asked for needs no answer any more."""


def _check_params(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a call, checked against the protocol; raises WireError."""
    if method not in wire.METHODS:
        raise wire.WireError(wire.METHOD_NOT_FOUND, f"there is no method {method!r}")
    known = wire.METHODS[method]
    for name in params:
        if name not in known:
            raise wire.WireError(wire.INVALID_PARAMS, f"{method} takes no parameter {name!r}")
    required = _REQUIRED.get(method, frozenset())
    for name in sorted(required):
        if name not in params:
            raise wire.WireError(wire.INVALID_PARAMS, f"{method} needs the parameter {name!r}")
    checked: dict[str, Any] = {}
    for name, value in params.items():
        if value is None and name not in required:
            continue
        wanted = _TYPES[name]
        fits = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
        if fits and wanted is list:
            fits = all(isinstance(item, str) for item in value)
        if not fits:
            raise wire.WireError(wire.INVALID_PARAMS, f"{method}: {name!r} is not {_TYPE_NAMES[wanted]}")
        checked[name] = value
    return checked
