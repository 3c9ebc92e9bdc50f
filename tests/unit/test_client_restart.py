"""`restart --server` and `stop --pid` as programs against a scripted daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jtunnel.errors import ControlError
from jtunnel.status import TunnelStatus
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, jupyter, tunnel
from tests.support.thin_client import Client

LATER = "2026-11-22T04:00:01Z"


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def with_kernels(total: int | None, busy: int | None) -> TunnelStatus:
    """A tunnel that is up, whose server has kernels."""
    shown = jupyter()
    shown["kernels"], shown["busy"] = total, busy
    return tunnel(jupyter=shown)


def restarting(before: TunnelStatus) -> dict[str, Any]:
    """What a daemon answers whose server is renewed: the tunnel is up as before, then starts, then is up."""

    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        for shown in (before, tunnel(state="starting", since=LATER), tunnel(since=LATER)):
            talk.snapshot(document(shown))

    answer = {"stopped": True, "pid": 7}
    return {
        "status": document(before),
        "servers": {"servers": [_listed(before)]},
        "restart_server": answer,
        "watch": watch,
    }


def _listed(shown: TunnelStatus) -> dict[str, Any]:
    """Its server as it is now: the status may be half a minute old."""
    server = shown["jupyter"]
    assert server is not None
    listed = {"pid": server["pid"], "kernels": server["kernels"], "busy": server["busy"]}
    server["kernels"], server["busy"] = 0, 0
    return listed


@pytest.mark.parametrize(
    ("total", "busy", "loss"),
    [
        (2, 1, "its 2 kernels (1 busy) end"),
        (1, 0, "its 1 kernel ends"),
        (0, 0, "it has no kernels"),
        (None, None, "its kernels end"),
    ],
)
def test_a_person_is_asked_what_is_lost(
    client: Client, total: int | None, busy: int | None, loss: str
) -> None:
    with (
        ScriptedDaemon(client.runtime_dir, restarting(with_kernels(total, busy))) as daemon,
        client.in_terminal("restart", "--server", "gpu") as terminal,
    ):
        terminal.wait_for(f"restart the Jupyter server of gpu? {loss} (yes/no)")
        assert "restart_server" not in [method for method, _ in daemon.calls]
        terminal.type("yes\n")
        assert terminal.wait() == 0
        assert ("restart_server", {"name": "gpu", "force": True}) in daemon.calls
    assert "gpu  up  http://localhost:8888/lab" in terminal.shown


def test_no_is_an_answer(client: Client) -> None:
    with (
        ScriptedDaemon(client.runtime_dir, restarting(with_kernels(2, 0))) as daemon,
        client.in_terminal("restart", "--server") as terminal,
    ):
        terminal.wait_for("(yes/no)")
        terminal.type("no\n")
        assert terminal.wait() == 1
        assert "restart_server" not in [method for method, _ in daemon.calls]
    assert "gpu: the server was left alone" in terminal.shown


def test_nobody_is_there_to_ask(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, restarting(with_kernels(2, 1))) as daemon:
        done = client.run("restart", "--server", "gpu")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "jtunnel: gpu: its 2 kernels (1 busy) end, and nobody is here to ask; "
            "to restart the server anyway: jtunnel restart --server --force gpu\n"
        )
        assert "restart_server" not in [method for method, _ in daemon.calls]
        done = client.run("restart", "--server", "--force", "gpu")
        assert (done.returncode, done.stdout) == (0, "gpu  up  http://localhost:8888/lab\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--server", "a", "b"), "--server restarts one server at a time: jtunnel restart --server NAME"),
        (("--server", "--all"), "--server restarts one server at a time: jtunnel restart --server NAME"),
        (("--force", "gpu"), "--force goes with --server only: jtunnel restart --server --force NAME"),
    ],
)
def test_what_does_not_go_together(client: Client, words: tuple[str, ...], said: str) -> None:
    done = client.run("restart", *words)
    assert (done.returncode, done.stderr) == (2, f"jtunnel: {said}\n")


def test_another_server_is_stopped_by_its_number(client: Client) -> None:
    def stop(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({"stopped": True, "pid": 4711} if params["force"] else {"stopped": False, "busy": 1})

    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel()), "stop": stop}) as daemon:
        done = client.run("stop", "gpu", "--pid", "4711")
        assert done.returncode == 1
        assert done.stderr.endswith("to stop it anyway: jtunnel stop gpu --pid 4711 --force\n")
        assert daemon.calls[-1] == ("stop", {"name": "gpu", "force": False, "pid": 4711})
        done = client.run("stop", "gpu", "--pid", "4711", "--force")
        assert (done.returncode, done.stdout) == (0, "gpu  stopped  (process 4711)\n")


def test_what_is_no_server_is_not_stopped(client: Client) -> None:
    error = ControlError("jupyter-failed", "pid 1 on ln03 is not a Jupyter server of yours", "look")
    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel()), "stop": error}):
        done = client.run("stop", "gpu", "--pid", "1")
    assert done.returncode != 0
    assert done.stderr == "jtunnel: pid 1 on ln03 is not a Jupyter server of yours; look\n"
