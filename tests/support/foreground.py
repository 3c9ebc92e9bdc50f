"""`jtunneld` in the foreground, as a service manager runs it: started, told by sd_notify(3), and stopped."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from types import TracebackType
from typing import Self

from tests.support.client import Jtunnel

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0

PROGRAM = os.path.join(sys.prefix, "bin", "jtunneld")


class ForegroundDaemon:
    """One daemon in the home of `jtunnel`; a context manager that waits for its READY=1, and ends it."""

    def __init__(self, jtunnel: Jtunnel) -> None:
        self._jtunnel = jtunnel
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.settimeout(START_TIMEOUT_S)

    def __enter__(self) -> Self:
        path = os.path.join(self._jtunnel.home.path, "notify.sock")
        self._notices.bind(path)
        self.process = subprocess.Popen(
            [PROGRAM],
            env={**self._jtunnel.env, "NOTIFY_SOCKET": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert "READY=1" in self.next_notice()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self.process:
            if self.process.poll() is None:
                self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
            finally:
                self._notices.close()

    def next_notice(self) -> list[str]:
        """The assignments of the next message to the service manager that is more than news of its status."""
        while True:
            notice = self._notices.recv(4096).decode().split("\n")
            if not all(line.startswith("STATUS=") for line in notice):
                return notice
