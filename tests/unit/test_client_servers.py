"""`servers` and `adopt`, as a person and a script see them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jtunnel.client.views.measures import moment
from jtunnel.client.views.servers import orphan_lines, server_lines
from jtunnel.errors import ServerError
from jtunnel.status import ServerListing, ServersDocument
from tests.support.screen import Screen
from tests.support.scripted_daemon import ScriptedDaemon, Talk
from tests.support.thin_client import Client

NOW = "2026-11-22T12:00:00Z"


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        client.environ["TERM"] = "xterm-256color"
        yield client


def server(pid: int = 4711, **changed: Any) -> ServerListing:
    """One that somebody else started."""
    made = {
        "pid": pid,
        "host": "gpu07",
        "version": "2.21.1",
        "environment": "/home/me/miniconda3/envs/torch",
        "target": "127.0.0.1:9999",
        "root_dir": "/home/me/work",
        "started_at": "2026-11-20T12:00:00Z",
        "kernels": 3,
        "busy": 1,
        "last_activity": "2026-11-22T11:54:30.123456Z",
        "origin": "other",
        "profile": None,
        "used_by": [],
        "used": False,
        "password": False,
        "secure": False,
        "problem": None,
    }
    return made | changed  # type: ignore[return-value]


ORPHAN = server(
    4712, origin="jtunnel", profile="torch", kernels=0, busy=0, target="unix:/tmp/jtunnel-1000/a.sock"
)
LOST = server(
    23,
    version=None,
    root_dir=None,
    kernels=None,
    busy=None,
    last_activity=None,
    problem="its runtime file is gone or broken, and its token is not known",
)
OWN = server(99999, origin="jtunnel", profile="gpu", used_by=["gpu"], used=True, secure=True)
SHARED = server(7, used_by=["cpu", "tpu"], password=True, kernels=None, busy=None)


def document(*servers: ServerListing, elsewhere: bool = False) -> ServersDocument:
    other = [{"host": "ln03", "profile": "cpu", "pid": 12, "target": "127.0.0.1:9000"}]
    return {"name": "gpu", "node": "gpu07", "servers": [*servers], "elsewhere": other if elsewhere else []}  # type: ignore[typeddict-item]


ALL = document(OWN, ORPHAN, LOST, SHARED, elsewhere=True)


def test_each_server_has_a_row_and_what_is_known_of_its_place() -> None:
    assert server_lines(ALL, moment(NOW), width=80) == [
        "gpu07:",
        "  PID  VERSION  SINCE  KERNELS    USED       STARTED BY",
        "99999  2.21.1   2 d    3, 1 busy  5 min ago  jtunnel for gpu, in use",
        "       127.0.0.1:9999, in /home/me/work, environment",
        "       /home/me/miniconda3/envs/torch, TLS",
        " 4712  2.21.1   2 d    0          5 min ago  jtunnel for torch, left over",
        "       unix:/tmp/jtunnel-1000/a.sock, in /home/me/work, environment",
        "       /home/me/miniconda3/envs/torch",
        "   23  -        2 d    -          -          hand",
        "       127.0.0.1:9999, environment /home/me/miniconda3/envs/torch",
        "       cannot be used: its runtime file is gone or broken, and its token is not",
        "       known",
        "    7  2.21.1   2 d    -          5 min ago  hand, used by cpu, tpu",
        "       127.0.0.1:9999, in /home/me/work, environment",
        "       /home/me/miniconda3/envs/torch, wants its password",
        "on ln03: pid 12 at 127.0.0.1:9000 for cpu, not looked at from here",
    ]


def test_no_server_runs() -> None:
    assert server_lines(document(), moment(NOW)) == ["no Jupyter server of yours runs on gpu07"]


def test_what_is_left_over_is_offered() -> None:
    (line,) = orphan_lines(ALL)
    assert line == (
        "pid 4712 was started by jtunnel for torch and is not in use; "
        "use it: jtunnel adopt gpu 4712, or end it: jtunnel stop gpu --pid 4712"
    )


def test_what_comes_from_afar_cannot_steer_the_terminal() -> None:
    hostile = "a\x1b]0;b\x07\n\x9b2J"
    odd = server(root_dir=hostile, environment=hostile, version=hostile, problem=hostile, profile=hostile)
    text = "".join(server_lines({**document(odd), "node": hostile}, moment(NOW), width=80))
    assert text.isprintable()


def test_the_document_is_for_scripts(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"servers": ALL}) as daemon:
        done = client.run("servers", "gpu", "--json")
        assert daemon.calls == [("servers", {"name": "gpu", "interactive": False})]
    assert json.loads(done.stdout) == ALL
    assert (done.returncode, done.stderr) == (0, "")


def test_servers_in_a_terminal(client: Client) -> None:
    """Compared with its picture in tests/data/screens."""

    def ago(**span: float) -> str:
        return (datetime.now(UTC) - timedelta(**span)).isoformat(timespec="seconds").replace("+00:00", "Z")

    fresh = {"started_at": ago(days=2.5), "last_activity": ago(minutes=5.5)}
    shown = {**ALL, "servers": [{**each, **fresh} for each in (OWN, ORPHAN, LOST)]}
    command = client.command("servers", "gpu")
    with (
        ScriptedDaemon(client.runtime_dir, {"servers": shown}),
        Screen(command, client.environ, columns=80, rows=18) as terminal,
    ):
        terminal.wait_for_picture("servers")
        assert terminal.wait() == 0


ADOPTED = {"pid": 4711, "host": "gpu07", "target": "127.0.0.1:9999", "version": "2.21.1", "root_dir": "/w"}


def test_adopt_says_what_is_used_now(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"adopt": ADOPTED | {"wanted": True}}) as daemon:
        done = client.run("adopt", "gpu", "4711")
        assert daemon.calls == [("adopt", {"name": "gpu", "which": "4711", "interactive": False})]
    assert done.stdout == "gpu  adopted  pid 4711 on gpu07, 127.0.0.1:9999, Jupyter 2.21.1, in /w\n"
    assert (done.returncode, done.stderr) == (0, "")
    with ScriptedDaemon(client.runtime_dir, {"adopt": ADOPTED | {"wanted": False}}):
        assert client.run("adopt", "gpu", "4711").stderr == (
            "jtunnel: gpu is down; bring it up with: jtunnel up gpu\n"
        )


def test_adopt_asks_the_person_what_the_daemon_asks(client: Client) -> None:
    def adopt(talk: Talk, params: dict[str, Any]) -> None:
        assert params["interactive"] is True
        answer = talk.prompt(tunnel="gpu", kind="passphrase", message="Passphrase for key:", echo=False)
        talk.reply(ADOPTED | {"wanted": answer == "geheim"})

    command = client.command("adopt", "gpu", "9999")
    with (
        ScriptedDaemon(client.runtime_dir, {"adopt": adopt}),
        Screen(command, client.environ, columns=100, rows=8) as terminal,
    ):
        terminal.wait_for("Passphrase for key:")
        terminal.type("geheim\n")
        terminal.wait_for("gpu  adopted  pid 4711")
        assert terminal.wait() == 0
        assert "is down" not in terminal.shown


def test_why_nothing_is_adopted(client: Client) -> None:
    error = ServerError("jupyter-missing", "no Jupyter server of yours has pid or port 1 on gpu07", "do this")

    with ScriptedDaemon(client.runtime_dir, {"adopt": error}):
        done = client.run("adopt", "gpu", "1")
    assert done.stderr == f"jtunnel: {error}\n"
    assert done.returncode == 4
