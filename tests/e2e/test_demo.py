"""`jtunnel demo` in a terminal: it shows an address that works, and Ctrl-C leaves no trace of it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator

import psutil
import pytest

from tests.support import processes
from tests.support.client import PROGRAM
from tests.support.home import SYSTEM_PATH
from tests.support.notebook import Jupyter
from tests.support.pseudo_terminal import PseudoTerminal

START_TIMEOUT_S = 90.0
END_TIMEOUT_S = 60.0
COLUMNS = 120
INVITATION = "open this in a browser; Ctrl-C ends the demo and removes everything:"


class Person:
    """Somebody with an empty home, at a terminal."""

    def __init__(self, home: str, path: str) -> None:
        self.environ = {"HOME": home, "PATH": path, "LANG": "C.UTF-8"}
        self._terminals: list[PseudoTerminal] = []

    def start(self, *words: str) -> PseudoTerminal:
        """Start the demo."""
        terminal = PseudoTerminal([PROGRAM, "demo", *words], self.environ, columns=COLUMNS)
        self._terminals.append(terminal)
        return terminal

    def clean_up(self) -> None:
        """Remove what demos have left that were killed by a test that failed."""
        for terminal in self._terminals:
            if directory := directory_of(terminal):
                processes.kill(running_in(directory))
                shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def person(jupyter_bin: str) -> Iterator[Person]:
    """Somebody whose PATH has JupyterLab, should the environment of the tests have none."""
    with tempfile.TemporaryDirectory(prefix="jt-", dir="/tmp") as home:
        somebody = Person(home, f"{jupyter_bin}:{SYSTEM_PATH}")
        yield somebody
        somebody.clean_up()
        assert os.listdir(home) == []


def directory_of(terminal: PseudoTerminal) -> str | None:
    """Where the demo says that its files are."""
    found = re.search(r"/tmp/jtunnel-demo-\w+", terminal.shown)
    return found[0] if found else None


def running_in(directory: str) -> list[psutil.Process]:
    """The processes whose home is below a directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HOME", "").startswith(directory) and processes.is_live(process):
                found.append(process)
    return found


def check_nothing_is_left(terminal: PseudoTerminal) -> None:
    """Neither processes nor files of a demo that has ended are there."""
    directory = directory_of(terminal)
    assert directory is not None, terminal.shown
    assert running_in(directory) == []
    assert not os.path.exists(directory)
    run = f"/tmp/jtunnel-{os.getuid()}"
    name = os.path.basename(directory).removeprefix("jtunnel-")
    assert [file for file in (os.listdir(run) if os.path.isdir(run) else ()) if name in file] == []


def wait_for_url(terminal: PseudoTerminal) -> str:
    """Wait until the demo has shown the address with its token, and return that."""
    invited = terminal.wait_for(INVITATION, timeout_s=START_TIMEOUT_S)
    terminal.wait_for("\n", after=terminal.wait_for("token=", after=invited))
    found = re.search(r"http://localhost:\d+/lab\?token=\w+", terminal.shown[invited:])
    assert found, terminal.shown
    return found[0]


def end(terminal: PseudoTerminal) -> None:
    """Press Ctrl-C: it says what it does, and ends well."""
    terminal.type("\x03")
    assert terminal.wait(END_TIMEOUT_S) == 0, terminal.shown
    assert "nothing is left of it" in terminal.shown
    assert "Traceback" not in terminal.shown


def test_the_demo_works_and_leaves_nothing(person: Person) -> None:
    with person.start() as terminal:
        url = wait_for_url(terminal)
        directory = directory_of(terminal)
        assert directory is not None
        assert len(running_in(directory)) >= 2, "neither the daemon's nor the server's process was found"
        jupyter = Jupyter(url)
        assert jupyter.ask("GET", "/api/status")["kernels"] == 0
        assert jupyter.status_code("/api/status", token="") == 403
        kernel = jupyter.begin_kernel()
        assert jupyter.run(kernel, "1+1") == "2"
        # The live status must not paint over the one address that opens the Lab.
        terminal.wait_for("  up\r\n", after=terminal.shown.index(url))
        assert url in terminal.screen(COLUMNS)
        end(terminal)
    check_nothing_is_left(terminal)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", jupyter.port))


@pytest.mark.parametrize("moment", ["a throw-away SSH server listens", "looking for", "starting JupyterLab"])
def test_ctrl_c_during_the_start_leaves_nothing(moment: str, person: Person) -> None:
    with person.start() as terminal:
        terminal.wait_for(moment, timeout_s=START_TIMEOUT_S)
        end(terminal)
        assert INVITATION not in terminal.shown
    check_nothing_is_left(terminal)


@pytest.mark.long
def test_an_impatient_person_gets_the_same_end(person: Person) -> None:
    with person.start() as terminal:
        wait_for_url(terminal)
        terminal.type("\x03")
        terminal.wait_for("ending the demo…")
        end(terminal)
    check_nothing_is_left(terminal)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_just_as_well(number: signal.Signals, person: Person) -> None:
    with person.start() as terminal:
        wait_for_url(terminal)
        terminal.process.send_signal(number)
        assert terminal.wait(END_TIMEOUT_S) == 0, terminal.shown
        assert "Traceback" not in terminal.shown
    check_nothing_is_left(terminal)


@pytest.mark.long
def test_an_outage_is_shown_and_passes(person: Person) -> None:
    with person.start("--outage") as terminal:
        url = wait_for_url(terminal)
        jupyter = Jupyter(url)
        kernel = jupyter.begin_kernel()
        assert jupyter.run(kernel, "x = 41") == ""
        cut = terminal.wait_for("  retrying: ", timeout_s=60.0)
        # Held meanwhile, and answered when the connection is back.
        assert jupyter.run(kernel, "x + 1") == "42"
        terminal.wait_for("  up\r\n", after=cut, timeout_s=60.0)
        assert url in terminal.screen(COLUMNS)
        end(terminal)
    check_nothing_is_left(terminal)
