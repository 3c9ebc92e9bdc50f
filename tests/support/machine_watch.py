"""A `jtunnel.machine` watch in a process of its own, which can be stopped, or live in other namespaces.

Run as a program it is that process: it writes what it notices, a JSON document a line, and answers questions.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import platform
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from jtunnel.machine.watch import Watch
from tests.support.lab.namespace import Namespace

PATIENCE_S = 20.0
#: So rarely that only notices are quick enough for a test.
NEVER_S = 3600.0
_CLONE_NEWTIME = 0x80
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
_SOCKET_CALL = {"x86_64": 41, "aarch64": 198}


class WatchProcess:
    """A context manager; `launch` starts a command as subprocess.Popen does, elsewhere if need be."""

    def __init__(
        self,
        *,
        loop: str = "asyncio",
        forbid_netlink: bool = False,
        launch: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
        **options: float,
    ) -> None:
        self._buffer = b""
        #: The log's lines and the events so far, in the order they came.
        self.log: list[str] = []
        self.events: list[dict[str, Any]] = []
        self._unread = 0
        self._launch = launch
        self._settings = {"loop": loop, "forbid_netlink": forbid_netlink, "options": options}

    def __enter__(self) -> Self:
        self.process = self._launch(
            [sys.executable, "-m", "tests.support.machine_watch", json.dumps(self._settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,  # a mount namespace begins at /
        )
        try:
            while "ready" not in self._next():
                pass
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        try:
            self.resume()
            self.process.stdin.close()  # it ends then
            assert self.process.wait(PATIENCE_S) == 0
        finally:
            self._end()

    def ask(self, question: str, argument: object = None) -> Any:
        """What it answers."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([question, argument]).encode() + b"\n")
        self.process.stdin.flush()
        while "answer" not in (message := self._next()):
            pass
        return message["answer"]

    def event(self) -> dict[str, Any]:
        """The next event, waiting for it."""
        while self._unread >= len(self.events):
            self._next()
        self._unread += 1
        return self.events[self._unread - 1]

    def wake(self) -> dict[str, Any]:
        """The event of the first wake, waiting for it."""
        return self.events_until(lambda event: bool(event["wakes"]))[-1]

    def events_until(self, condition: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """The next events up to one."""
        events = [self.event()]
        while not condition(events[-1]):
            events.append(self.event())
        return events

    def stop(self) -> None:
        """Freeze it."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def _end(self) -> None:
        with self.process:  # closes its pipes
            self.process.kill()

    def _next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE_S
        while b"\n" not in self._buffer:
            readable, _, _ = select.select([self.process.stdout], [], [], deadline - time.monotonic())
            assert readable, f"nothing came within {PATIENCE_S} s; the log:\n" + "\n".join(self.log)
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            assert data, "the watch has ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        if "log" in message:
            self.log.append(message["log"])
        elif "gains" in message:
            self.events.append(message)
        return message


def launch_in(namespace: Namespace) -> Callable[..., subprocess.Popen[bytes]]:
    """A `launch` for processes that live in a namespace."""

    def launch(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        return namespace.call(lambda: subprocess.Popen(*arguments, **options))

    return launch


def main(arguments: Sequence[str]) -> None:
    """Watch until standard input ends."""
    settings: Mapping[str, Any] = json.loads(arguments[0])
    if settings["forbid_netlink"]:
        forbid_netlink()
    _log_to_output()
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if settings["loop"] == "uvloop":
        import uvloop

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_live(Watch(**settings["options"])))


async def _live(watch: Watch) -> None:
    questions = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(questions), sys.stdin
    )
    async with asyncio.TaskGroup() as tasks:
        helpers = [tasks.create_task(watch.run()), tasks.create_task(_tell(watch))]
        await asyncio.sleep(0)
        _write({"ready": True})
        while line := await questions.readline():
            question, argument = json.loads(line)
            _write({"answer": _answer(watch, question, argument)})
        for helper in helpers:
            helper.cancel()


async def _tell(watch: Watch) -> None:
    seen = 0
    while True:
        seen = await watch.changes.wait(seen)
        gap = watch.gap and [watch.gap.kind, watch.gap.seconds]
        counts = {"gains": watch.gains, "losses": watch.losses, "wakes": watch.wakes}
        _write({**counts, "gap": gap, "index": seen, "at": time.monotonic()})


def _answer(watch: Watch, question: str, argument: Any) -> Any:
    match question:
        case "path":
            path = watch.path_to(argument)
            return path and [path.source, path.interface]
        case "has":
            return watch.has_address(argument)
        case "events":
            return watch.changes.index
        case "known":
            return sorted(address.ip for address in watch._network._snapshot.addresses or ())
        case "enter-time":
            with open(argument) as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                return libc.setns(namespace.fileno(), _CLONE_NEWTIME) or os.strerror(ctypes.get_errno())
    raise ValueError(question)


def _write(message: Mapping[str, Any]) -> None:
    os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


def _log_to_output() -> None:
    class Output(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            _write({"log": self.format(record)})

    logging.getLogger().addHandler(Output())
    logging.getLogger().setLevel(logging.INFO)


def forbid_netlink() -> None:
    """From now on this process may open no AF_NETLINK socket, as in a sandbox: seccomp(2)."""
    call = _SOCKET_CALL[platform.machine()]

    def load(offset: int) -> bytes:
        return struct.pack("=HBBI", 0x20, 0, 0, offset)

    def skip_unless(value: int, skipped: int) -> bytes:
        return struct.pack("=HBBI", 0x15, 0, skipped, value)

    def answer(action: int) -> bytes:
        return struct.pack("=HBBI", 0x06, 0, 0, action)

    refuse, allow = 0x00050000 | 1, 0x7FFF0000  # SECCOMP_RET_ERRNO with EPERM, SECCOMP_RET_ALLOW
    # The number of the call, then its first argument: the address family (AF_NETLINK is 16).
    steps = [load(0), skip_unless(call, 3), load(16), skip_unless(16, 1), answer(refuse), answer(allow)]
    code = ctypes.create_string_buffer(b"".join(steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    prctl: Callable[..., int] = libc.prctl
    no_new_privileges, set_seccomp, with_filter = 38, 22, 2
    for arguments in (
        (no_new_privileges, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)),
        (set_seccomp, ctypes.c_ulong(with_filter), ctypes.create_string_buffer(program)),
    ):
        if prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1:])
