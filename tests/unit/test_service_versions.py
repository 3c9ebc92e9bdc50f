"""A daemon that is older than the client: said once and to a person, and what it cannot do in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from jtunnel import __version__, wire
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, tunnel
from tests.support.thin_client import Client

HELLO = {"protocol": wire.PROTOCOL_VERSION, "version": "0.0.9", "pid": os.getpid()}
OLDER = (
    f"the daemon is older (0.0.9) than this jtunnel ({__version__}); renew it with: jtunnel service restart"
)


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def watch(talk: Talk, params: dict[str, Any]) -> None:
    talk.reply({})
    # A restart is over with another `up` than before.
    talk.snapshot(document(tunnel(since="2026-11-22T04:00:05Z")))


def answers(**more: Any) -> dict[str, Any]:
    return {
        "hello": HELLO,
        "status": document(tunnel()),
        "up": {"names": ["gpu"]},
        "restart": {"names": ["gpu"], "also": []},
        "watch": watch,
        **more,
    }


@pytest.mark.parametrize(
    ("command", "says_so"),
    [
        (["status"], True),
        (["up", "gpu"], True),
        (["restart", "gpu"], True),
        (["status", "--json"], False),
        (["down", "gpu"], False),
    ],
)
def test_a_person_is_told_once_and_it_goes_on(client: Client, command: list[str], says_so: bool) -> None:
    with ScriptedDaemon(client.runtime_dir, answers(down={"names": ["gpu"]})):
        with client.in_terminal(*command, columns=200) as terminal:
            assert terminal.wait() == 0
        assert terminal.shown.count(OLDER) == says_so
        # Nobody reads what a script gets.
        assert OLDER not in client.run(*command).stderr


@pytest.mark.parametrize("version", [__version__, "999.0", "1.x", "?"])
def test_one_that_is_not_older_is_no_subject(client: Client, version: str) -> None:
    with (
        ScriptedDaemon(client.runtime_dir, answers(hello={**HELLO, "version": version})),
        client.in_terminal("status", columns=200) as terminal,
    ):
        assert terminal.wait() == 0
    assert "older" not in terminal.shown


@pytest.mark.parametrize("code", [wire.METHOD_NOT_FOUND, wire.INVALID_PARAMS])
def test_what_an_older_daemon_does_not_know(client: Client, code: int) -> None:
    def refuse(talk: Talk, params: dict[str, Any]) -> None:
        talk.fail(code, "down takes no parameter 'tags'")

    with ScriptedDaemon(client.runtime_dir, answers(down=refuse)):
        done = client.run("down", "gpu")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"jtunnel: the daemon (0.0.9) is older than this jtunnel ({__version__}) and cannot do this; "
        "renew it with: jtunnel service restart\n"
    )


def test_version_names_both(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"hello": HELLO}, protocol=0):
        assert client.run("--version").stdout == (
            f"jtunnel {__version__}\ndaemon 0.0.9 (pid {os.getpid()})\n"
        )
