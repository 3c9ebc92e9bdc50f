"""The whole terminal, taken over to repaint it in place, and given back as it was: at the end, on a signal,
and for the time that Ctrl-Z stops the program.

What is shown and what keys mean is the caller's business.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios

from jtunnel.client import terminal
from jtunnel.client.views.width import cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType
    from typing import Any, Final, Self

#: xterm's alternate screen, so that what was there comes back; the cursor is hidden (ctlseqs, DECSET).
_ENTER: Final = "\x1b[?1049h\x1b[?25l"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)
_LOCAL_FLAGS: Final = 3
_KEY_LETTERS: Final[Mapping[bytes, str]] = {
    b"\x1b[A": "k",
    b"\x1b[B": "j",
    b"\x1bOA": "k",
    b"\x1bOB": "j",
    b"\x1b[5~": "b",
    b"\x1b[6~": " ",
}


class Screen:
    """The terminal behind standard output while the block lasts; keys come from standard input, if it is one.

    Signals arrive at `wake`: SIGTERM and SIGHUP end the program as they would have, once `heed` has given
    the terminal back; Ctrl-C stays a KeyboardInterrupt.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._before: list[Any] | None = None
        self._handlers: dict[int, Any] = {}
        self._old_wake = -1
        self.keys = 0 if terminal.is_terminal(sys.stdin) else -1
        self.wake, self._wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()

    def __enter__(self) -> Self:
        self._old_wake = signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, _note)
        self._take_over()
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self._give_back()
        finally:
            signal.set_wakeup_fd(self._old_wake)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            os.close(self.wake)
            os.close(self._wakes)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return terminal.size(sys.stdout, self._environ) or terminal.FALLBACK_SIZE

    def paint(self, lines: Sequence[str]) -> None:
        """Show these lines and nothing else; what does not fit below is left out."""
        height = self.size[1]
        shown = [*lines[:height], *[""] * (height - len(lines))]
        # Cleared before it is written: behind a line as wide as the terminal, its last letter would go.
        terminal.put_raw("\x1b[H" + "\r\n".join(f"\x1b[K{line}" for line in shown))

    def read_keys(self) -> str:
        """The keys typed since the last call, arrows and page keys as vi's and less's letters."""
        try:
            typed = os.read(self.keys, 1024)
        except OSError:
            typed = b""
        if not typed:  # the terminal is gone
            return "q"
        for sequence, letter in _KEY_LETTERS.items():
            typed = typed.replace(sequence, letter.encode())
        return typed.decode(errors="replace")

    def heed(self) -> None:
        """Act on the signals that came."""
        came = set(os.read(self.wake, 1024))
        for number in (signal.SIGTERM, signal.SIGHUP):
            if number in came:
                self._give_back()
                self._die_of(number)
        if signal.SIGTSTP in came:
            self._give_back()
            self._die_of(signal.SIGTSTP)
            signal.signal(signal.SIGTSTP, _note)
            self._take_over()
        elif signal.SIGCONT in came:
            # Stopped without being asked: whoever had the terminal meanwhile may have changed it.
            self._take_over()

    def _die_of(self, number: int) -> None:
        """Let a signal do what it does to programs that do not catch it; of being stopped, one returns."""
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _take_over(self) -> None:
        if self.keys >= 0:
            try:
                if self._before is None:
                    self._before = termios.tcgetattr(self.keys)
                silent = list(self._before)
                silent[_LOCAL_FLAGS] &= ~(termios.ECHO | termios.ICANON)
                termios.tcsetattr(self.keys, termios.TCSADRAIN, silent)
            except termios.error:
                self.keys = -1
        terminal.put_raw(_ENTER)

    def _give_back(self) -> None:
        if self._before is not None:
            # Where it is gone, nobody needs it back.
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self.keys, termios.TCSADRAIN, self._before)
            self._before = None
        with contextlib.suppress(OSError):
            terminal.put_raw(_LEAVE)


def fit(lines: Sequence[str], rows: int, top: int, width: int) -> list[str]:
    """`rows` of the lines from the one numbered `top` on, the last of them saying how many there are more."""
    if len(lines) <= rows:
        return list(lines)
    shown = list(lines[top : top + rows - 1])
    below = len(lines) - top - len(shown)
    above = f"{top} above" if top else ""
    more = f"{below} more lines" if below else ""
    return [*shown, cut(f"… {', '.join(filter(None, (more, above)))}; arrow keys scroll", width)]


def _note(number: int, frame: FrameType | None) -> None:
    """That it came is written to the pipe already (signal.set_wakeup_fd)."""


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    return reading, writing
