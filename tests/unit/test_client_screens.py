"""`status` in a real terminal, compared with the pictures in tests/data/screens; below each, its colours.

To renew them, run this file with JTUNNEL_TEST_DRAW_SCREENS=1 and look at what has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from jtunnel.status import Problem, StatusDocument, TunnelStatus
from tests.support.screen import Screen
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, forward, jupyter, tunnel
from tests.support.thin_client import Client

#: Made when the test runs, since what it tells of time is relative.
Answer = Callable[[], StatusDocument]
#: How the colours are drawn: green, red, yellow (which the emulator calls brown).
LETTERS: Final = {"green": "g", "red": "r", "brown": "y"}

REFUSED: Problem = {
    "kind": "auth-failed",
    "message": "gpu-box refused the login of me",
    "advice": "add your key there, or bring it up from a terminal to type a password: jtunnel up old",
}
UNREACHABLE: Problem = {
    "kind": "host-unreachable",
    "message": "cluster: no route to host",
    "advice": "check the network or the VPN; it is tried again by itself",
}
NOT_LISTENING: Problem = {
    "kind": "target-refused",
    "message": "nobody listens at localhost:6006 on gpu-box",
    "advice": "start it there",
}
WIDE: Problem = {
    "kind": "jupyter-failed",
    "message": "JupyterLab の起動に失敗しました: ポートは既に使用されています (e\u0301tat: e\u0301chec)",
    "advice": "see its log: jtunnel logs tokyo --remote",
}
CONFIG: Problem = {
    "kind": "config-invalid",
    "message": "config.toml: profiles.gpu.hold: expected seconds, from 0 to 31536000",
    "advice": "mend it, then: jtunnel config check",
}


class Picture(Screen):
    """A screen whose picture ends with a map of its colours, where it has any: `g` green, `b` bold, …"""

    def picture(self) -> str:
        """The screen, and below it the colours."""
        screen = self._emulated
        rows = [
            "".join(self._letter(screen.buffer[row][column]) for column in range(screen.columns)).rstrip()
            for row in range(screen.lines)
        ]
        colours = "\n".join(rows).rstrip()
        return super().picture() + (f"--- colours\n{colours}\n" if colours else "")

    def _letter(self, cell: Any) -> str:
        return LETTERS.get(cell.fg, "b" if cell.bold else " ")


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        # Else what the tests' own environment says of colours would count.
        client.environ |= {"TERM": "xterm-256color"}
        yield client


def moment(**ago: float) -> str:
    """A time so long ago, in the middle of a minute or an hour, so that a slow test sees the same."""
    return (datetime.now(UTC) - timedelta(**ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def mixed() -> StatusDocument:
    """A tunnel of every sort."""
    return shown(
        tunnel(
            since=moment(hours=2.5),
            tags=["work"],
            latency_ms=12.3,
            via=["bastion"],
            forwards=[
                forward("jupyter", listen="127.0.0.1:8888", bytes_in=12_345_678, bytes_out=33_333),
                forward("6006", problem=NOT_LISTENING),
            ],
        ),
        tunnel(
            "cluster",
            "retrying",
            since=moment(minutes=3.5),
            tags=["work"],
            jupyter=jupyter(url="http://localhost:8890/lab"),
            forwards=[forward("jupyter", held=4)],
            problem=UNREACHABLE,
            retry_at=moment(minutes=-2.5),
        ),
        tunnel("old", "blocked", since=moment(days=2.5), tags=["home"], jupyter=None, problem=REFUSED),
        tunnel(
            "database",
            since=moment(days=1.5),
            tags=["home"],
            jupyter=None,
            latency_ms=0.8,
            forwards=[
                forward("5432", bytes_in=999, bytes_out=1_000_000),
                forward("proxy", kind="dynamic", listen="127.0.0.1:1080", target=None),
            ],
        ),
        tunnel(
            "lazy",
            "down",
            since=moment(hours=3.5),
            autostart="on-demand",
            jupyter=jupyter(url=None),
            forwards=[forward("jupyter", listen="127.0.0.1:8891")],
        ),
        tunnel(
            "back", "up", since=moment(hours=9.5), jupyter=None, forwards=[forward("9000", kind="remote")]
        ),
        tunnel("off", "down", since=moment(days=9.5), jupyter=None, forwards=[forward("1", listening=False)]),
    )


def database() -> StatusDocument:
    """One of those."""
    return shown(mixed()["tunnels"][3])


def shown(*tunnels: TunnelStatus, config_problem: Problem | None = None) -> StatusDocument:
    """A document of these, by a daemon that systemd started three hours ago."""
    made = document(*tunnels, config_problem=config_problem)
    made["daemon"]["started_at"] = moment(hours=3.5)
    made["daemon"]["started_by"] = "systemd"
    return made


def one() -> StatusDocument:
    """What most people have."""
    server = jupyter(
        kernels=3,
        busy=1,
        last_activity=moment(minutes=5.5),
        environment="/opt/conda/envs/torch",
        log="/home/me/.local/share/jtunnel/gpu@gpu.example.log",
    )
    return shown(
        tunnel(since=moment(hours=2.5), latency_ms=12.3, jupyter=server, forwards=[forward("jupyter")])
    )


def password() -> StatusDocument:
    """A server as old posts have people set it up."""
    server = jupyter(
        url="https://localhost:8888/tree",
        version="6.5.7",
        origin="adopted",
        kernels=None,
        busy=None,
        password=True,
        secure=True,
    )
    return shown(tunnel(since=moment(hours=2.5), jupyter=server, forwards=[forward("jupyter")]))


def many() -> StatusDocument:
    """Thirty, some of them up."""
    tunnels = []
    for number in range(30):
        state = ("up", "down", "down", "up", "starting")[number % 5]
        url = f"http://localhost:{8800 + number}/lab" if state != "down" else None
        where = [forward("jupyter", listen=f"127.0.0.1:{8800 + number}", listening=state != "down")]
        tags = [("gpu", "cpu", "paris")[number % 3]] if number < 27 else []
        tunnels.append(
            tunnel(
                f"node{number:02}",
                state,
                since=moment(hours=5.5),
                tags=tags,
                jupyter=jupyter(url=url),
                forwards=where,
            )
        )
    tunnels[7] |= {"state": "blocked", "problem": REFUSED}
    return shown(*tunnels)


def troubled() -> StatusDocument:
    """Messages that are long, and wide."""
    return shown(
        tunnel("tokyo", "blocked", since=moment(minutes=5.5), problem=WIDE),
        tunnel(
            since=moment(hours=2.5), forwards=[forward("jupyter"), forward("6006", problem=NOT_LISTENING)]
        ),
        config_problem=CONFIG,
    )


def daemon(client: Client, answer: StatusDocument) -> ScriptedDaemon:
    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(answer)

    return ScriptedDaemon(client.runtime_dir, {"status": answer, "watch": watch})


@pytest.mark.parametrize(
    ("name", "answer", "columns", "rows", "words"),
    [
        ("status-one", one, 80, 6, []),
        ("status-one-narrow", one, 40, 10, []),
        ("status-password", password, 80, 8, []),
        ("status-alone", database, 80, 8, ["database"]),
        ("status-narrow", mixed, 40, 40, []),
        ("status", mixed, 80, 24, []),
        ("status-wide", mixed, 140, 24, []),
        ("status-plain", mixed, 80, 24, ["--color", "never"]),
        ("status-many", many, 100, 48, []),
        ("status-troubled", troubled, 60, 16, []),
    ],
)
def test_status(client: Client, name: str, answer: Answer, columns: int, rows: int, words: list[str]) -> None:
    command = client.command("status", *words)
    with daemon(client, answer()), Picture(command, client.environ, columns=columns, rows=rows) as terminal:
        terminal.wait_for_picture(name)
        assert terminal.wait() in (0, 1)


@pytest.mark.parametrize(
    ("name", "answer", "columns", "rows"),
    [
        ("watch", mixed, 80, 24),
        ("watch-narrow", mixed, 40, 16),
        ("watch-many", many, 100, 20),
    ],
)
def test_watch(client: Client, name: str, answer: Answer, columns: int, rows: int) -> None:
    command = client.command("status", "--watch")
    with daemon(client, answer()), Picture(command, client.environ, columns=columns, rows=rows) as terminal:
        terminal.wait_for_picture(name)
        terminal.type("q")
        assert terminal.wait() == 0


def test_watch_while_no_daemon_runs(client: Client) -> None:
    command = client.command("status", "--watch")
    with daemon(client, one()) as scripted, Picture(command, client.environ, columns=60, rows=8) as terminal:
        terminal.wait_for("http://localhost:8888/lab")
        scripted.close()
        terminal.wait_for_picture("watch-no-daemon")
