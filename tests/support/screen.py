"""A program in a terminal whose whole screen is known, and compared with a picture in tests/data/screens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

from tests.support.pseudo_terminal import WAIT_S, PseudoTerminal

PICTURES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data", "screens")
#: With this variable set, pictures are made instead of compared: look at them before they are kept.
DRAW = "JTUNNEL_TEST_DRAW_SCREENS"
_QUIET_S = 2.0


class _Emulated(pyte.Screen):
    def __init__(self, columns: int, rows: int, answer: Callable[[str], None]) -> None:
        super().__init__(columns, rows)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        """What the terminal answers to a question of the program."""
        self._answer(data)


class Screen(PseudoTerminal):
    """A `PseudoTerminal` with an emulator behind it, that also answers what programs ask a terminal."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], *, columns: int = 80, rows: int = 24
    ) -> None:
        self._emulated = _Emulated(columns, rows, self.type)
        self._emulator = pyte.Stream(self._emulated)
        super().__init__(command, environ, columns=columns, rows=rows)

    def picture(self) -> str:
        """What is to be seen now, `▁` where the cursor is, without blanks at the ends."""
        lines = list(self._emulated.display)
        cursor = self._emulated.cursor
        if not cursor.hidden:
            line = lines[cursor.y].ljust(cursor.x)
            lines[cursor.y] = f"{line[: cursor.x]}▁{line[cursor.x + 1 :]}"
        return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"

    def wait_for_picture(self, name: str, *, timeout_s: float = WAIT_S) -> None:
        """Wait until the screen is the kept picture `name`; else fail with both."""
        path = os.path.join(PICTURES, f"{name}.txt")
        if os.environ.get(DRAW):
            # What repaints itself is never quiet.
            draw_at = time.monotonic() + 2 * _QUIET_S
            while time.monotonic() < draw_at and self._read(_QUIET_S):
                pass
            with open(path, "w", encoding="utf-8") as file:
                file.write(self.picture())
            return
        with open(path, encoding="utf-8") as file:
            kept = file.read()
        give_up_at = time.monotonic() + timeout_s
        while self.picture() != kept and self._read(give_up_at - time.monotonic()):
            pass
        assert self.picture() == kept

    def _read(self, timeout_s: float) -> bool:
        before = len(self.shown)
        came = super()._read(timeout_s)
        self._emulator.feed(self.shown[before:])
        return came
