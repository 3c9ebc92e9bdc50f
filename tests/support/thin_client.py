"""Runs the `jtunnel` command as a program, with directories of its own. Starts no daemon by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from typing import Self

from tests.support import processes
from tests.support.pseudo_terminal import PseudoTerminal

WAIT_S = 30.0


class Client:
    """The command with a private runtime directory, log and config; `environ` is a test's to change."""

    def __init__(self) -> None:
        # Short: the path of a Unix socket ends at 103 bytes on macOS.
        self.path = tempfile.mkdtemp(prefix="jt-", dir="/tmp")
        self.runtime_dir = os.path.join(self.path, "run")
        self.state_dir = os.path.join(self.path, "state")
        self.config_file = os.path.join(self.path, "jtunnel", "config.toml")
        os.mkdir(self.runtime_dir, 0o700)
        os.mkdir(self.state_dir, 0o700)
        os.mkdir(os.path.dirname(self.config_file))
        self.environ = {
            "HOME": self.path,
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "JTUNNEL_RUNTIME_DIR": self.runtime_dir,
            "JTUNNEL_STATE_DIR": self.state_dir,
            # Not JTUNNEL_CONFIG, which the scripted daemon's documents would be compared with.
            "XDG_CONFIG_HOME": self.path,
        }
        if mark := os.environ.get(processes.MARK):
            self.environ[processes.MARK] = mark

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        shutil.rmtree(self.path)

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "jtunnel", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, without a terminal."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            start_new_session=True,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it without a terminal."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def in_terminal(
        self,
        *arguments: str,
        columns: int = 80,
        rows: int = 24,
        stdin: int | None = None,
        stdout: int | None = None,
    ) -> PseudoTerminal:
        """Start it in a terminal."""
        return PseudoTerminal(
            self.command(*arguments), self.environ, columns=columns, rows=rows, stdin=stdin, stdout=stdout
        )
