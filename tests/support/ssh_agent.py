"""OpenSSH's ssh-agent at a path of the test's choice. Names itself to nobody."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from tests.support.home import Home
from tests.support.keys import Key

TIMEOUT_S = 10


class SshAgent:
    """An agent without keys, at a path below the home; a context manager that ends it."""

    def __init__(self, home: Home, relative: str) -> None:
        self.path = os.path.join(home.path, relative)
        self._home = home
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        command = ["ssh-agent", "-D", "-a", self.path]
        self.process = subprocess.Popen(command, env=home.env, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert "SSH_AUTH_SOCK" in self.process.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def add(self, key: Key) -> None:
        """Put a key into it."""
        self._ask(["ssh-add", "-q", key.path], self._home.env)

    def lock(self) -> None:
        """Lock it, as a person does who leaves; it keeps its keys to itself."""
        self._lock("-x")

    def unlock(self) -> None:
        """Unlock it."""
        self._lock("-X")

    def _lock(self, option: str) -> None:
        answer = os.path.join(self._home.path, "answer")
        with open(answer, "w") as file:
            os.fchmod(file.fileno(), 0o700)
            file.write("#!/bin/sh\necho secret\n")
        answering = {"SSH_ASKPASS": answer, "SSH_ASKPASS_REQUIRE": "force"}
        self._ask(["ssh-add", "-q", option], {**self._home.env, **answering})

    def _ask(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        subprocess.run(
            command,
            env={**environ, "SSH_AUTH_SOCK": self.path},
            check=True,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )

    def end(self) -> None:
        """End it; a frozen one too."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(TIMEOUT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
