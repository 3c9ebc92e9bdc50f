"""Puts the daemon's questions to the person at the terminal and sends the answers back.

Questions and answers use the terminal alone, never standard output; answers are kept nowhere.
"""

from __future__ import annotations

import os
import select
import termios

from jtunnel.client.terminal import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from jtunnel.client.connection import Connection

_ECHO_FLAGS: Final = 3


class Terminal:
    """A terminal that a person sits at, whatever standard input, output and error are."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def ask(self, question: str, *, echo: bool = True, connection: Connection | None = None) -> str | None:
        """Ask and return the line typed; None for Ctrl-C or end of input.

        What arrives at `connection` meanwhile is taken in; it raises ControlError (`no-daemon`) and
        ends the question when the daemon is gone.
        """
        before = None if echo else _hide_typing(self._descriptor)
        try:
            self.write(question)
            answer = self._read_line(connection)
        except KeyboardInterrupt:
            answer = None
        finally:
            if before is not None:
                termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, before)
        if answer is None or not echo:
            self.write("\n")
        return answer

    def drop_typing(self) -> None:
        """Drop what was typed and not read: it may be an answer to a question that is no longer asked."""
        termios.tcflush(self._descriptor, termios.TCIFLUSH)

    def write(self, text: str) -> None:
        """Show `text` as it is."""
        os.write(self._descriptor, text.encode(errors="replace"))

    def _read_line(self, connection: Connection | None) -> str | None:
        typed = b""
        while not typed.endswith(b"\n"):
            if connection is not None:
                ready, _, _ = select.select([self._descriptor, connection.fileno()], [], [])
                if self._descriptor not in ready:
                    connection.pump()
                    continue
            chunk = os.read(self._descriptor, 4096)
            if not chunk:
                break
            typed += chunk
        return typed.rstrip(b"\r\n").decode(errors="surrogateescape") if typed else None


def find_terminal() -> Terminal | None:
    """The person's terminal: standard input if it is one, else the session's; None without."""
    if os.isatty(0):
        try:
            return Terminal(os.open(os.ttyname(0), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
        except OSError:  # in a container, the terminal may have no name
            return Terminal(0)
    try:
        return Terminal(os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return None


def answer_prompt(connection: Connection, terminal: Terminal, request: Mapping[str, Any]) -> None:
    """Put a `prompt` request to the person and send what they said, or null if they gave up."""
    params = request.get("params", {})
    kind, echo = params.get("kind"), bool(params.get("echo", False))
    *heading, last = str(params.get("message", "")).rstrip().split("\n")
    for line in heading:
        terminal.write(printable(line) + "\n")
    question = printable(last) + " "
    if kind == "code":
        # The server worded this question: say whose it is, as OpenSSH does.
        question = f"({printable(str(params.get('tunnel')))}) {question}"
    answer = terminal.ask(question, echo=echo, connection=connection)
    if kind == "host-key":
        answer = insist_on_yes_or_no(terminal, answer, connection)
    connection.answer(request.get("id"), {"answer": answer})


def insist_on_yes_or_no(
    terminal: Terminal, answer: str | None, connection: Connection | None = None
) -> str | None:
    """Ask again until the answer is `yes` or `no`; None where the person gives up."""
    while answer is not None and answer.strip().lower() not in ("yes", "no"):
        answer = terminal.ask("Please type 'yes' or 'no': ", connection=connection)
    return answer.strip().lower() if answer is not None else None


def _hide_typing(descriptor: int) -> list[Any]:
    before = termios.tcgetattr(descriptor)
    hidden = list(before)
    hidden[_ECHO_FLAGS] &= ~termios.ECHO
    # Flushing drops what was typed ahead: it was not meant as a secret and has been shown.
    termios.tcsetattr(descriptor, termios.TCSAFLUSH, hidden)
    return before
