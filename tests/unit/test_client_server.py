"""`url`, `stop` and `open` without a name, and `stop` of a server that is busy or does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jtunnel import wire
from jtunnel.errors import ControlError
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, forward, jupyter, tunnel
from tests.support.thin_client import Client

NOT_UP = ControlError("not-up", "gpu is not connected", "jtunnel up gpu")
MUTE = ControlError("not-up", "gpu-box did not answer in time", "see `jtunnel status gpu`")


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def test_the_only_server_needs_no_name(client: Client) -> None:
    shown = document(tunnel("db", jupyter=None), tunnel())
    answers = {"status": shown, "url": {"url": "http://x"}, "stop": {"stopped": True, "pid": 7}}
    with ScriptedDaemon(client.runtime_dir, answers) as daemon:
        assert client.run("url").stdout == "http://x\n"
        assert client.run("stop").stdout == "gpu  stopped  (process 7)\n"
        assert daemon.calls == [
            ("status", {}),
            ("url", {"name": "gpu"}),
            ("status", {}),
            ("stop", {"name": "gpu", "force": False}),
        ]


@pytest.mark.parametrize("command", ["url", "stop", "open"])
def test_one_of_several_has_to_be_named(client: Client, command: str) -> None:
    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel(), tunnel("b"))}):
        done = client.run(command)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"jtunnel: {command} needs a name; name one: gpu, b\n"


@pytest.mark.parametrize("command", ["url", "stop", "open"])
def test_without_any_server(client: Client, command: str) -> None:
    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel(jupyter=None))}):
        done = client.run(command)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "jtunnel: no profile has a Jupyter server; "
        "give one a jupyter table in /home/me/.config/jtunnel/config.toml\n"
    )


@pytest.mark.parametrize("command", ["url", "stop", "open"])
def test_without_any_profile(client: Client, command: str) -> None:
    with ScriptedDaemon(client.runtime_dir, {"status": document()}):
        done = client.run(command)
    assert (done.returncode, done.stdout) == (2, "")
    path = "/home/me/.config/jtunnel/config.toml"
    assert done.stderr == f"jtunnel: there are no profiles in {path}; write one: jtunnel edit\n"


@pytest.mark.parametrize("at_rest", [True, False])
def test_the_address_of_a_tunnel_on_demand_is_a_use_of_it(client: Client, at_rest: bool) -> None:
    before = tunnel(state="down", forwards=[forward("jupyter", listening=at_rest)])
    asked: list[str] = []

    def url(talk: Talk, params: dict[str, Any]) -> None:
        if "up" in asked:
            talk.reply({"url": "http://x"})
        else:
            talk.fail(wire.PROBLEM, "gpu is not connected", NOT_UP.problem)

    def up(talk: Talk, params: dict[str, Any]) -> None:
        asked.append("up")
        talk.reply({"names": params["names"]})

    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(tunnel()))

    answers = {"status": document(before), "url": url, "up": up, "watch": watch}
    with ScriptedDaemon(client.runtime_dir, answers):
        done = client.run("url", "gpu")
    if at_rest:
        assert (done.returncode, done.stdout, done.stderr) == (0, "http://x\n", "")
    else:
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"jtunnel: {NOT_UP}\n")


@pytest.mark.parametrize(
    ("state", "server", "advised"),
    [
        ("up", "ready", True),
        ("starting", "not-answering", True),
        ("retrying", "ready", False),
        ("down", "searching", False),
        ("connecting", "searching", False),
    ],
)
def test_of_a_server_that_hangs_force_is_advised(
    client: Client, state: str, server: str, advised: bool
) -> None:
    shown = document(tunnel(state=state, jupyter=jupyter(server)))
    with ScriptedDaemon(client.runtime_dir, {"status": shown, "stop": MUTE}):
        done = client.run("stop", "gpu")
        forced = client.run("stop", "gpu", "--force")
    assert (done.returncode, done.stdout) == (1, "")
    advice = "to end it without its answer: jtunnel stop gpu --force" if advised else MUTE.advice
    assert done.stderr == f"jtunnel: {MUTE.message}; {advice}\n"
    assert forced.stderr == f"jtunnel: {MUTE.message}; {MUTE.advice}\n"


def test_busy_kernels_are_left_alone_where_nobody_can_be_asked(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"stop": {"stopped": False, "busy": 2}}):
        done = client.run("stop", "gpu")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(
        "2 kernels are busy, so the server was left alone; to stop it anyway: jtunnel stop gpu --force\n"
    )


def test_a_server_that_does_not_tell_is_left_alone_too(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"stop": {"stopped": False, "busy": None}}):
        done = client.run("stop", "gpu")
    assert done.returncode == 1
    assert "it does not tell whether kernels are busy, so the server was left alone" in done.stderr
