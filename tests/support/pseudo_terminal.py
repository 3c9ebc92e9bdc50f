"""A program in a terminal of its own: what it shows, as a person would see it, and keys typed to it."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Self

WAIT_S = 20.0
# The program becomes a session leader with this terminal, so that Ctrl-C reaches it as from a keyboard; a
# shell that runs the tests in the background has its jobs ignore that.
_TAKE_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class PseudoTerminal:
    """Runs one program in a terminal while the block lasts; `shown` is every byte it wrote there.

    `stdout` and `stdin` may be descriptors that take the terminal's place.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        columns: int = 80,
        rows: int = 24,
        stdin: int | None = None,
        stdout: int | None = None,
    ) -> None:
        self.shown = ""
        # A character may come in two pieces.
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *command],
            env={**environ, "TERM": environ.get("TERM", "xterm")},
            stdin=slave if stdin is None else stdin,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)
        os.close(self._master)

    def resize(self, columns: int, rows: int) -> None:
        """Change the terminal's size, as dragging its window does."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Type `keys`."""
        os.write(self._master, keys.encode())

    def echoes(self) -> bool:
        """Whether what is typed can be seen."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    def wait_for(self, text: str, *, after: int = 0, timeout_s: float = WAIT_S) -> int:
        """Wait until `text` was shown after position `after`; return the position behind it."""
        give_up_at = time.monotonic() + timeout_s
        while (found := self.shown.find(text, after)) < 0:
            if not self._read(give_up_at - time.monotonic()):
                raise AssertionError(f"{text!r} was not shown, only: {self.shown!r}")
        return found + len(text)

    def wait(self, timeout_s: float = WAIT_S) -> int:
        """Wait for the program's end; return its exit code."""
        give_up_at = time.monotonic() + timeout_s
        while self._read(give_up_at - time.monotonic()):
            pass
        return self.process.wait(max(0.1, give_up_at - time.monotonic()))

    def screen(self, columns: int = 80) -> list[str]:
        """What is to be seen now."""
        return screen_of(self.shown, columns)

    def _read(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, timeout_s))
        try:
            chunk = os.read(self._master, 65536) if ready else b""
        except OSError:  # on Linux, the end of the last program that had it open
            chunk = b""
        self.shown += self._decoder.decode(chunk)
        return bool(chunk)


def screen_of(shown: str, columns: int = 80) -> list[str]:
    """The lines that a terminal shows after `shown`, empty ones at the end left out.

    Long lines wrap. Knows the few sequences that jtunnel uses and passes over colours; raises
    ValueError for others.
    """
    lines = [""]
    row = column = 0
    for sequence, character in re.findall(r"(\x1b\[[0-9;]*[A-Za-z])|(.|\n)", shown):
        if sequence:
            number, letter = sequence[2:-1], sequence[-1]
            if letter == "A":
                row = max(0, row - int(number or 1))
            elif letter == "H" and not number:
                row = column = 0
            elif letter == "K" and not number:
                lines[row] = lines[row][:column]
            elif letter == "J" and not number:
                lines[row:] = [lines[row][:column]]
            elif letter != "m":
                raise ValueError(f"no such sequence here: {sequence!r}")
        elif character == "\r":
            column = 0
        elif character == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        else:
            if column == columns:
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row].ljust(column)[:column] + character + lines[row][column + 1 :]
            column += 1
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.rstrip() for line in lines]
