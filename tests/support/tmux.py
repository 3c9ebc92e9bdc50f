"""A tmux of a test's own: a terminal that knows more than the emulator in Python, such as a second screen."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from typing import Self

from tests.support.programs import find_program
from tests.support.pseudo_terminal import WAIT_S


class Tmux:
    """Runs one command line in a session of 100 columns and 12 rows while the block lasts."""

    def __init__(self, environ: Mapping[str, str], command: str) -> None:
        self._program = find_program("tmux")
        self._directory = tempfile.mkdtemp(prefix="jt-", dir="/tmp")
        self._server = [self._program, "-S", os.path.join(self._directory, "s"), "-f", "/dev/null"]
        self._environ = {**environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        self.run("new-session", "-d", "-x", "100", "-y", "12", command)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        subprocess.run([*self._server, "kill-server"], capture_output=True, timeout=WAIT_S)
        shutil.rmtree(self._directory)

    @property
    def attach(self) -> str:
        """The command line of a client, for another terminal."""
        return shlex.join([*self._server, "attach"])

    def run(self, *words: str) -> str:
        """One command to the server, and what it prints."""
        done = subprocess.run(
            [*self._server, *words],
            env=self._environ,
            check=True,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        return done.stdout

    def type(self, keys: str) -> None:
        """Type `keys`, which tmux(1) has names for."""
        self.run("send-keys", *keys.split())

    def wait_for(self, text: str) -> list[str]:
        """Wait until the screen has `text`; return its lines with their colours, without empty ones below."""
        give_up_at = time.monotonic() + WAIT_S
        while text not in (shown := self.run("capture-pane", "-p", "-e")):
            assert time.monotonic() < give_up_at, shown
            time.sleep(0.02)
        return shown.rstrip("\n").split("\n")
