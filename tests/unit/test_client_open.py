"""`jtunnel open`: what the browser gets, when it gets it, and what is said while it waits."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

import pytest

from jtunnel import wire
from jtunnel.errors import ControlError, ServerError
from jtunnel.status import TunnelStatus
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, jupyter, tunnel
from tests.support.thin_client import Client

URL = "http://localhost:8888/lab"
LOST = ControlError("connection-lost", "lost gpu-box", "it is tried again by itself")
NOT_UP = ControlError("not-up", "gpu is not connected and cannot have an address", "jtunnel up gpu")


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


class Browser:
    """A program that only notes its arguments."""

    def __init__(self, client: Client, exit_code: int = 0) -> None:
        self._seen = os.path.join(client.path, "seen")
        program = os.path.join(client.path, "browser")
        with open(program, "w") as file:
            file.write(f'#!/bin/sh\necho "$@" >{self._seen}\nexit {exit_code}\n')
        os.chmod(program, stat.S_IRWXU)
        client.environ["BROWSER"] = program

    @property
    def address(self) -> str | None:
        """Where it was sent; None where it was not started."""
        if not os.path.exists(self._seen):
            return None
        with open(self._seen) as file:
            return file.read().strip()


def answers(before: TunnelStatus | None = None, **more: Any) -> dict[str, Any]:
    """A daemon whose tunnel is in this state at first, and comes up when that is wanted."""

    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(tunnel()))

    return {
        "status": document(before or tunnel(state="down", jupyter=jupyter(url=None))),
        "up": {"names": ["gpu"]},
        "watch": watch,
        "page": {"path": "/run/open-1.html", "url": URL},
        **more,
    }


def test_the_browser_gets_a_page_and_no_token(client: Client) -> None:
    browser = Browser(client)
    with ScriptedDaemon(client.runtime_dir, answers()) as daemon:
        done = client.run("open", "gpu")
        assert [method for method, _ in daemon.calls] == ["status", "up", "watch", "page"]
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"jtunnel: opened {URL} in the browser\n"
    assert browser.address == "file:///run/open-1.html"


def test_without_a_browser_url_is_advised(client: Client) -> None:
    Browser(client, exit_code=1)
    client.environ["PATH"] = "/nonexistent"
    with ScriptedDaemon(client.runtime_dir, answers()):
        done = client.run("open", "gpu")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no browser could be started; for the address: jtunnel url gpu" in done.stderr


@pytest.mark.parametrize(("kind", "code"), [("auth-failed", 4), ("internal", 1)])
def test_a_tunnel_that_does_not_come_up(client: Client, kind: str, code: int) -> None:
    def blocked(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        problem = ControlError(kind, "gpu-box refused the login", "check the key").problem
        talk.snapshot(document(tunnel(state="blocked", problem=problem)))

    browser = Browser(client)
    with ScriptedDaemon(client.runtime_dir, answers(watch=blocked)):
        done = client.run("open", "gpu")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == "jtunnel: gpu: gpu-box refused the login; check the key\n"
    assert browser.address is None


def test_a_lost_tunnel_is_not_waited_for(client: Client) -> None:
    """The browser is: its request waits at the local port, or shows why."""
    browser = Browser(client)
    lost = tunnel(state="retrying", problem=LOST.problem, retry_at="2036-11-22T04:00:00Z")
    with ScriptedDaemon(client.runtime_dir, answers(lost)) as daemon:
        done = client.run("open", "gpu")
        assert [method for method, _ in daemon.calls] == ["status", "up", "page", "status"]
        assert daemon.calls[1][1]["interactive"] is False
    assert (done.returncode, done.stdout) == (0, "")
    line = done.stderr
    assert line.startswith(
        f"jtunnel: opened {URL} in the browser, which waits: gpu is retrying; lost gpu-box; "
    )
    assert line.count("\n") == 1
    assert "; next try in " in line
    assert browser.address == "file:///run/open-1.html"


def test_a_tunnel_that_comes_back_just_then_is_not_said_to_wait(client: Client) -> None:
    documents = iter([document(tunnel(state="retrying", problem=LOST.problem)), document(tunnel())])
    browser = Browser(client)

    def status(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply(next(documents))

    with ScriptedDaemon(client.runtime_dir, answers(status=status)):
        done = client.run("open", "gpu")
    assert (done.returncode, done.stderr) == (0, f"jtunnel: opened {URL} in the browser\n")
    assert browser.address is not None


def test_one_that_has_no_page_yet_is_waited_for(client: Client) -> None:
    pages = iter([NOT_UP, None])

    def page(talk: Talk, params: dict[str, Any]) -> None:
        if (error := next(pages)) is not None:
            talk.fail(wire.PROBLEM, error.message, error.problem)
        else:
            talk.reply({"path": "/run/open-2.html", "url": URL})

    lost = tunnel(state="retrying", problem=LOST.problem)
    browser = Browser(client)
    with ScriptedDaemon(client.runtime_dir, answers(lost, page=page)) as daemon:
        done = client.run("open", "gpu")
        assert [method for method, _ in daemon.calls] == ["status", "up", "page", "up", "watch", "page"]
    assert done.returncode == 0, done.stderr
    assert browser.address == "file:///run/open-2.html"


def test_one_that_never_was_there_is_waited_for(client: Client) -> None:
    away = tunnel(state="retrying", problem=LOST.problem, jupyter=jupyter("searching", url=None))
    Browser(client)
    with ScriptedDaemon(client.runtime_dir, answers(away)) as daemon:
        assert client.run("open", "gpu").returncode == 0
        assert [method for method, _ in daemon.calls] == ["status", "up", "watch", "page"]


def test_a_server_that_is_gone_is_not_replaced_behind_ones_back(client: Client) -> None:
    gone = ServerError(
        "server-gone", "the Jupyter server on n1 is gone", "start a new one with: jtunnel up gpu"
    )
    browser = Browser(client)
    blocked = tunnel(state="blocked", problem=gone.problem, jupyter=jupyter("gone"))
    with ScriptedDaemon(client.runtime_dir, answers(blocked)) as daemon:
        done = client.run("open", "gpu")
        assert [method for method, _ in daemon.calls] == ["status"]
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == f"jtunnel: gpu: {gone.message}; {gone.advice}\n"
    assert browser.address is None
