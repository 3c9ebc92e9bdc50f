"""Notifications, by a program on the PATH in the place of notify-send or osascript: it notes what it gets."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from pathlib import Path

import pytest

from jtunnel.telling.children import Children
from jtunnel.telling.notices import Notice, Notices
from tests.support import processes

PROGRAM = "osascript" if sys.platform == "darwin" else "notify-send"
GPU = Notice("outage", "gpu is away", 'no "answer" & <nothing>', "normal")
linux_only = pytest.mark.skipif(sys.platform == "darwin", reason="osascript is told of no bus and no number")

NOTE = f"""#!{sys.executable}
import json, os, sys
with open("calls", "a") as file:
    file.write(json.dumps([sys.argv[1:], os.environ.get("DBUS_SESSION_BUS_ADDRESS")]) + "\\n")
"""
NEW = NOTE + 'print("77")\n'
#: libnotify 0.7.9, as Ubuntu 22.04 has it.
OLD = NOTE + 'if "--print-id" in sys.argv: sys.exit("Unknown option --print-id")\n'


class Desk:
    """A home with such a program."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environ = {
            "PATH": str(path),
            "HOME": str(path),
            "XDG_RUNTIME_DIR": str(path / "run"),
            processes.MARK: os.environ[processes.MARK],
        }

    def install(self, text: str) -> None:
        program = self.path / PROGRAM
        program.write_text(text)
        program.chmod(0o755)

    def show(self, *notices: Notice, close: bool = False) -> None:
        """Show them one after another, each once the one before has been shown."""

        async def main() -> None:
            async with asyncio.TaskGroup() as tasks:
                shown = Notices(tasks, Children(self.environ), self.environ)
                for notice in notices:
                    shown.show(notice)
                    while not close and (work := shown._work):
                        await asyncio.wait([work])
                if close:
                    await asyncio.sleep(0.1)
                    await shown.close()

        asyncio.run(main())

    @property
    def calls(self) -> list[tuple[list[str], str | None]]:
        with (self.path / "calls").open() as file:
            return [tuple(json.loads(line)) for line in file]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_words_are_arguments(desk: Desk) -> None:
    desk.install(NEW)
    desk.show(GPU)
    ((arguments, _),) = desk.calls
    if sys.platform == "darwin":
        assert arguments[-2:] == [GPU.title, GPU.body]
        assert not any("gpu" in word for word in arguments[:-2])
    else:
        assert arguments == [
            "--print-id",
            "--app-name=jtunnel",
            "--urgency=normal",
            "--category=network",
            "--",
            "gpu is away",
            'no "answer" &amp; &lt;nothing&gt;',
        ]


@linux_only
def test_the_next_of_the_same_kind_takes_its_place(desk: Desk) -> None:
    desk.install(NEW)
    desk.show(GPU, Notice("blocked", "db is blocked", "", "critical"), GPU)
    replacing = [[word for word in arguments if "replace" in word] for arguments, _ in desk.calls]
    assert replacing == [[], [], ["--replace-id=77"]]


@linux_only
def test_an_old_program_that_knows_no_numbers(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.install(OLD)
    desk.show(GPU, GPU)
    assert ["--print-id" in arguments for arguments, _ in desk.calls] == [True, False, False]
    assert not caplog.records


@linux_only
def test_the_bus_is_found(desk: Desk) -> None:
    desk.install(NEW)
    desk.show(GPU)
    (desk.path / "run").mkdir()
    (desk.path / "run" / "bus").touch()
    desk.show(GPU)
    desk.environ["DBUS_SESSION_BUS_ADDRESS"] = "unix:abstract=/elsewhere"
    desk.show(GPU)
    assert [bus for _, bus in desk.calls] == [
        None,
        f"unix:path={desk.path / 'run' / 'bus'}",
        "unix:abstract=/elsewhere",
    ]


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (None, "it is not installed"),
        ("#!/nowhere/at-all\n", "No such file or directory"),
        (f"#!{sys.executable}\nimport sys; sys.exit('no bus here')", "no bus here"),
    ],
)
def test_what_cannot_be_shown_is_one_line_in_the_log(
    desk: Desk, caplog: pytest.LogCaptureFixture, program: str | None, words: str
) -> None:
    caplog.set_level(logging.INFO)
    if program:
        desk.install(program)
    desk.show(GPU, GPU, GPU)
    (record,) = caplog.records
    assert words in record.getMessage()


def test_closing_ends_one_that_hangs(desk: Desk) -> None:
    desk.install(f"#!{sys.executable}\nimport time; time.sleep(1000)")
    begun = time.monotonic()
    desk.show(GPU, close=True)
    assert time.monotonic() - begun < 5
