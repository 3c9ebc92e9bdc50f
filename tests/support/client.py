"""The installed `jtunnel`, run as a person or a script runs it, and its daemon watched as a client does.

Uses the contract and the protocol, nothing of the daemon's inside.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, cast

import psutil

from jtunnel import errors, wire
from jtunnel.status import StatusDocument, TunnelStatus
from tests.support import processes
from tests.support.home import Home
from tests.support.pseudo_terminal import PseudoTerminal

SHUTDOWN_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 10.0

PROGRAM = os.path.join(sys.prefix, "bin", "jtunnel")


class Jtunnel:
    """jtunnel in one home; `close` ends its daemon and checks that it is gone."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.env = home.env
        self._daemons: list[subprocess.Popen[bytes]] = []

    def run(self, *words: str, timeout: float = 60.0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command to its end, without a terminal; any exit code is an answer."""
        return subprocess.run(
            [PROGRAM, *words],
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            # Else it would find the terminal of whoever runs the tests.
            start_new_session=True,
        )

    def check(self, *words: str, timeout: float = 60.0, stdin: str = "") -> str:
        """Run one command that has to succeed; the answer is its standard output."""
        ended = self.run(*words, timeout=timeout, stdin=stdin)
        assert ended.returncode == 0, (
            f"jtunnel {' '.join(words)} exits {ended.returncode}:\n"
            f"{ended.stdout}{ended.stderr}\n{self.log_tail()}"
        )
        return ended.stdout

    def spawn(self, *words: str) -> PseudoTerminal:
        """Run one command in a terminal, to answer its questions."""
        return PseudoTerminal([PROGRAM, *words], self.env)

    def start_daemon(self) -> None:
        """Start the daemon without a word about any tunnel, as a service manager does, and wait for it."""
        daemon = subprocess.Popen(
            [PROGRAM, "daemon"],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._daemons.append(daemon)
        give_up_at = time.monotonic() + ANSWER_TIMEOUT_S
        while self.daemon_pid() is None:
            assert time.monotonic() < give_up_at, self.log_tail()
            time.sleep(0.05)

    def kill_daemon(self) -> None:
        """End the daemon as a crash does, and wait for its end."""
        daemon = psutil.Process(self.daemon_pid())
        daemon.kill()
        psutil.wait_procs([daemon], ANSWER_TIMEOUT_S)

    def write_config(self, toml: str) -> None:
        """Write config.toml; a running daemon wants a `reload` after it."""
        self.home.write_config(toml)

    def status(self, *names: str) -> StatusDocument:
        """What `status --json` prints; AssertionError where no daemon runs."""
        ended = self.run("status", "--json", *names)
        assert ended.returncode in {errors.EXIT_DONE, errors.EXIT_FAILED, errors.EXIT_BLOCKED}, ended.stderr
        return cast(StatusDocument, json.loads(ended.stdout))

    def tunnel(self, name: str) -> TunnelStatus:
        """One tunnel of the status."""
        return _find(self.status(), name)

    def blocked_by(self, name: str) -> str:
        """The kind of problem that blocks a tunnel; AssertionError where it is not blocked."""
        tunnel = self.tunnel(name)
        assert tunnel["state"] == "blocked", tunnel
        assert tunnel["problem"] is not None
        return tunnel["problem"]["kind"]

    def daemon_pid(self) -> int | None:
        """The process that answers the control socket; None where none does."""
        try:
            return next(self.snapshots(ANSWER_TIMEOUT_S))["daemon"]["pid"]
        except OSError:
            return None

    def wait_state(self, name: str, state: str, timeout_s: float = 60.0) -> TunnelStatus:
        """Block until the tunnel is in that state."""
        return self.wait_tunnel(name, lambda tunnel: tunnel["state"] == state, timeout_s)

    def wait_tunnel(
        self, name: str, predicate: Callable[[TunnelStatus], bool], timeout_s: float = 60.0
    ) -> TunnelStatus:
        """Block until the tunnel satisfies the predicate; AssertionError with its last status otherwise."""
        last: TunnelStatus | None = None
        try:
            for document in self.snapshots(timeout_s):
                last = _find(document, name)
                if predicate(last):
                    return last
        except TimeoutError:
            pass
        raise AssertionError(f"after {timeout_s} s {name} still is {json.dumps(last)}\n{self.log_tail()}")

    def snapshots(self, timeout_s: float) -> Generator[StatusDocument, None, None]:
        """The status now, then each newer one, as `watch` sends them.

        Raises TimeoutError after the timeout, and another OSError where no daemon answers or it ends.
        """
        deadline = time.monotonic() + timeout_s
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(timeout_s)
            control.connect(os.path.join(self.home.runtime_dir, "control.sock"))
            hello = {"protocol": wire.PROTOCOL_VERSION, "version": "test"}
            control.sendall(wire.request(1, "hello", hello) + wire.request(2, "watch", {"names": []}))
            for message in _messages(control, deadline):
                assert "error" not in message, message
                if message.get("method") == "snapshot":
                    yield message["params"]["document"]

    def log_tail(self, count: int = 40) -> str:
        """The last lines of the daemon's log, for a failure's message."""
        try:
            with open(os.path.join(self.home.state_dir, "jtunnel.log")) as file:
                return "".join(file.readlines()[-count:])
        except FileNotFoundError:
            return "(the daemon has no log)"

    def close(self, timeout_s: float = SHUTDOWN_TIMEOUT_S) -> None:
        """End the daemon; AssertionError where something does not end by itself, which is then killed."""
        if self.daemon_pid() is not None:
            self.run("shutdown", timeout=timeout_s)
        # Also a daemon that answers nobody, and whatever it started: all have this home.
        running = processes.running_with("HOME", self.home.path)
        for daemon in self._daemons:
            # One that ended and was not waited for is still a process.
            daemon.poll()
        if left := processes.await_end(running, timeout_s):
            described = processes.describe(left)
            processes.kill(left)
            raise AssertionError(f"these did not end: {described}\n{self.log_tail()}")
        for daemon in self._daemons:
            daemon.wait(timeout_s)


def _messages(control: socket.socket, deadline: float) -> Iterator[dict[str, Any]]:
    """What arrives at the socket, message by message; TimeoutError after the deadline."""
    pending = b""
    while True:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError
        control.settimeout(remaining_s)
        data = control.recv(65536)
        if not data:
            raise ConnectionError("the daemon closed the control connection")
        *lines, pending = (pending + data).split(b"\n")
        yield from (wire.decode(line) for line in lines)


def _find(document: StatusDocument, name: str) -> TunnelStatus:
    for tunnel in document["tunnels"]:
        if tunnel["name"] == name:
            return tunnel
    raise AssertionError(f"the status has no tunnel {name}")
