"""`jtunnel status --watch`: the screen it takes and gives back, traffic, a daemon that comes back, pipes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from jtunnel.client.views.screen import fit
from jtunnel.client.views.watch import Meter
from jtunnel.errors import ConfigError
from jtunnel.status import StatusDocument
from tests.support.pseudo_terminal import WAIT_S, PseudoTerminal
from tests.support.screen import Screen
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, forward, tunnel
from tests.support.thin_client import Client
from tests.support.tmux import Tmux

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def always(*shown: StatusDocument) -> Mapping[str, Any]:
    """A daemon that sends these snapshots to watchers, and the last of them to those who ask."""

    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        for each in shown:
            talk.snapshot(each)

    return {"watch": watch, "status": shown[-1]}


def screen(client: Client, *words: str, columns: int = 80, rows: int = 24) -> Screen:
    return Screen(client.command("status", "--watch", *words), client.environ, columns=columns, rows=rows)


def wait_for_line(terminal: Screen, start: str) -> list[str]:
    """Wait until a line of the screen starts so; return all lines."""
    give_up_at = time.monotonic() + WAIT_S
    while not any(line.startswith(start) for line in terminal.picture().splitlines()):
        assert terminal._read(give_up_at - time.monotonic()), terminal.picture()
    return terminal.picture().splitlines()


@pytest.mark.parametrize("key", ["q", "Q", "\x03"])
def test_gives_the_terminal_back(client: Client, key: str) -> None:
    with (
        ScriptedDaemon(client.runtime_dir, always(document(tunnel()))),
        client.in_terminal("status", "--watch") as terminal,
    ):
        terminal.wait_for("http://localhost:8888/lab")
        assert terminal.shown.startswith(ENTER)
        assert not terminal.echoes()
        terminal.type(key)
        assert terminal.wait() == 0
        assert terminal.echoes()
    assert terminal.shown.endswith(LEAVE)
    assert terminal.shown.count(ENTER) == terminal.shown.count(LEAVE) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_gives_it_back_before_a_signal_ends_it(client: Client, number: signal.Signals) -> None:
    with (
        ScriptedDaemon(client.runtime_dir, always(document(tunnel()))),
        client.in_terminal("status", "--watch") as terminal,
    ):
        terminal.wait_for("http://localhost:8888/lab")
        terminal.process.send_signal(number)
        assert terminal.wait() == -number
        assert terminal.echoes()
    assert terminal.shown.endswith(LEAVE)


def test_gives_it_back_while_it_is_stopped(client: Client) -> None:
    # A shell's job: a session leader of its own could not be stopped by Ctrl-Z.
    job, command = '"$@"; echo stopped; read go; fg', client.command("status", "--watch")
    with (
        ScriptedDaemon(client.runtime_dir, always(document(tunnel()))),
        PseudoTerminal(["sh", "-mc", job, "sh", *command], client.environ) as terminal,
    ):
        terminal.wait_for("http://localhost:8888/lab")
        terminal.type("\x1a")
        after = terminal.wait_for("stopped")
        assert terminal.shown[:after].count(LEAVE) == 1
        assert terminal.echoes()
        terminal.type("go\n")
        after = terminal.wait_for(ENTER, after=after)
        terminal.wait_for("http://localhost:8888/lab", after=after)
        assert not terminal.echoes()
        terminal.type("q")
        terminal.wait()
        assert terminal.echoes()
    assert terminal.shown.rstrip().endswith(LEAVE)


def test_takes_it_again_after_a_stop_that_nobody_could_catch(client: Client) -> None:
    with (
        ScriptedDaemon(client.runtime_dir, always(document(tunnel()))),
        client.in_terminal("status", "--watch") as terminal,
    ):
        after = terminal.wait_for("http://localhost:8888/lab")
        terminal.process.send_signal(signal.SIGSTOP)
        os.waitpid(terminal.process.pid, os.WUNTRACED)
        terminal.process.send_signal(signal.SIGCONT)
        after = terminal.wait_for(ENTER, after=after)
        terminal.wait_for("http://localhost:8888/lab", after=after)
        terminal.type("q")
        assert terminal.wait() == 0
        # What it was at first, and not what it was made to be.
        assert terminal.echoes()


@pytest.mark.parametrize("keys", ["q", "C-c"])
def test_what_was_there_before_is_there_again(client: Client, keys: str) -> None:
    script = f"echo before; {shlex.join(client.command('status', '--watch'))}; echo after; cat"
    with (
        ScriptedDaemon(client.runtime_dir, always(document(tunnel()))),
        Tmux(client.environ, script) as terminal,
    ):
        assert "before" not in "".join(terminal.wait_for("http://localhost:8888/lab"))
        terminal.type(keys)
        shown = terminal.wait_for("after")
    assert shown == ["before", "after"]


def test_fits_a_resized_terminal(client: Client) -> None:
    with (
        ScriptedDaemon(client.runtime_dir, always(document(tunnel(), tunnel("other", "connecting")))),
        screen(client, columns=80, rows=12) as terminal,
    ):
        lines = wait_for_line(terminal, "other")
        assert lines[0].startswith("jtunnel: 1 up, 1 connecting; daemon 9.9.9, ")
        assert lines[2].split()[:4] == ["NAME", "STATE", "SINCE", "ADDRESS"]
        terminal.resize(20, 12)
        terminal._emulated.resize(12, 20)
        lines = wait_for_line(terminal, "  http://localhost:8")
        at = lines.index("  http://localhost:8")
        # Longer than the terminal is wide, and all there.
        assert lines[at + 1] == "888/lab"


def test_scrolls_what_does_not_fit(client: Client) -> None:
    tunnels = [tunnel(f"t{number:02}") for number in range(20)]
    with (
        ScriptedDaemon(client.runtime_dir, always(document(*tunnels))),
        screen(client, rows=10) as terminal,
    ):
        lines = wait_for_line(terminal, "t05")
        assert lines[-1] == "… 14 more lines; arrow keys scroll"
        terminal.type("\x1b[B")
        lines = wait_for_line(terminal, "… 13 more lines, 1 above")
        terminal.type("\x1b[6~" * 5)
        lines = wait_for_line(terminal, "t19")
        assert lines[-1].startswith("… 14 above")
        terminal.type("k" * 40)
        assert wait_for_line(terminal, "NAME")[3].startswith("t00")


def test_shows_traffic_from_one_second_to_the_next(client: Client) -> None:
    asked = 0

    def status(talk: Talk, params: dict[str, Any]) -> None:
        nonlocal asked
        asked += 1
        flow = forward("jupyter", bytes_in=asked * 5_000_000, bytes_out=asked * 3000)
        talk.reply(document(tunnel(forwards=[flow]), tunnel("db")))

    with (
        ScriptedDaemon(client.runtime_dir, {**always(document(tunnel(), tunnel("db"))), "status": status}),
        screen(client, columns=120) as terminal,
    ):
        give_up_at = time.monotonic() + WAIT_S
        while " MB" not in terminal.picture():
            assert terminal._read(give_up_at - time.monotonic()), terminal.picture()
        lines = terminal.picture().splitlines()
    assert lines[2].split()[4:6] == ["IN/S", "OUT/S"]
    assert "kB" in next(line for line in lines if line.startswith("gpu"))
    assert "B" not in next(line for line in lines if line.startswith("db"))


def test_meter() -> None:
    def at(came: int, went: int) -> StatusDocument:
        return document(tunnel(forwards=[forward(bytes_in=came, bytes_out=went)]))

    meter = Meter()
    meter.read(at(1000, 0), 10.0)
    assert meter.rates == {}
    meter.read(at(3000, 500), 12.0)
    assert meter.rates == {"gpu": (1000.0, 250.0)}
    # A daemon that was started anew counts from zero.
    meter.read(at(10, 0), 13.0)
    assert meter.rates == {"gpu": (0.0, 0.0)}


def test_fit() -> None:
    lines = [str(number) for number in range(10)]
    assert fit(lines, 10, 0, 80) == lines
    assert fit(lines, 4, 0, 80) == ["0", "1", "2", "… 7 more lines; arrow keys scroll"]
    assert fit(lines, 4, 3, 80) == ["3", "4", "5", "… 4 more lines, 3 above; arrow keys scroll"]
    assert fit(lines, 4, 7, 12) == ["7", "8", "9", "… 7 above; …"]


def test_goes_on_when_the_daemon_ends_and_comes_back(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, always(document(tunnel()))) as daemon, screen(client) as terminal:
        wait_for_line(terminal, "gpu  up")
        daemon.close()
        lines = wait_for_line(terminal, "no daemon runs")
        assert not any(line.startswith("gpu") for line in lines)
        with ScriptedDaemon(client.runtime_dir, always(document(tunnel("new")))):
            wait_for_line(terminal, "new  up")
            terminal.type("q")
            assert terminal.wait() == 0


@pytest.mark.long
def test_says_that_the_daemon_is_silent(client: Client) -> None:
    def mute(talk: Talk, params: dict[str, Any]) -> None:
        """Never answers."""

    with (
        ScriptedDaemon(client.runtime_dir, {**always(document(tunnel())), "status": mute}),
        screen(client) as terminal,
    ):
        terminal.wait_for("has not answered for")
        terminal.type("q")
        assert terminal.wait() == 0


def test_a_wrong_name_is_said_before_the_screen_is_taken(client: Client) -> None:
    error = ConfigError("unknown-profile", "no profile 'gpo' in c.toml", "did you mean gpu?")
    with (
        ScriptedDaemon(client.runtime_dir, {"watch": error}),
        client.in_terminal("status", "--watch", "gpo") as terminal,
    ):
        assert terminal.wait() == 2
    assert terminal.screen() == ["jtunnel: no profile 'gpo' in c.toml; did you mean gpu?"]


def test_without_a_daemon_it_ends(client: Client) -> None:
    with client.in_terminal("status", "--watch") as terminal:
        assert terminal.wait() == 3
    assert terminal.screen() == ["jtunnel: no daemon runs; start it with: jtunnel up"]


def test_a_dumb_terminal_gets_plain_lines(client: Client) -> None:
    client.environ["TERM"] = "dumb"
    with (
        ScriptedDaemon(client.runtime_dir, always(document(tunnel()))),
        client.in_terminal("status", "--watch") as terminal,
    ):
        terminal.wait_for("http://localhost:8888/lab")
        terminal.type("\x03")
        assert terminal.wait() == 0
    assert "\x1b" not in terminal.shown


def busy(accepted: int) -> StatusDocument:
    return document(tunnel(latency_ms=accepted, forwards=[forward(accepted=accepted, bytes_in=accepted)]))


def test_a_pipe_gets_what_changed_but_counters(client: Client) -> None:
    shown = [document(tunnel(state="connecting")), busy(1), busy(2), busy(2), document(tunnel(state="down"))]

    def watch(talk: Talk, params: dict[str, Any]) -> None:
        always(*shown)["watch"](talk, params)
        talk.hang_up()

    with ScriptedDaemon(client.runtime_dir, {"watch": watch}) as daemon:
        done = client.run("status", "--watch", "--tag", "work")
        assert daemon.calls == [("watch", {"tags": ["work"]})]
    assert done.returncode == 3
    assert [block.split()[1] for block in done.stdout.split("\n\n") if block] == ["connecting", "up", "down"]
    assert done.stderr == "jtunnel: the daemon has ended; start it with: jtunnel up\n"


def test_it_ends_with_what_reads_it(client: Client) -> None:
    with (
        ScriptedDaemon(client.runtime_dir, always(document(tunnel()))),
        client.start("status", "--watch", "--json") as process,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        try:
            # Nothing changes any more, so nothing is written.
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()


def test_as_json_it_is_a_document_a_line_without_repeats(client: Client) -> None:
    shown = [document(tunnel(state="connecting")), busy(1), busy(1), busy(2)]
    with ScriptedDaemon(client.runtime_dir, always(*shown)):
        process = client.start("status", "--watch", "--json", "gpu")
        assert process.stdout is not None
        seen = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=WAIT_S)
    assert seen == [shown[0], shown[1], shown[3]]
    assert (process.returncode, rest) == (0, ("", ""))
