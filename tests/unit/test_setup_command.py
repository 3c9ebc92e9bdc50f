"""`jtunnel setup` as a person meets it: the difference, the question, the password; and as scripts do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, tunnel
from tests.support.thin_client import WAIT_S, Client

DIFF = ["--- /dev/null", "+++ ~/.jupyter/x.json", '+    "password": "argon2:… (new)"']
ANSWER = {
    "node": "ln01",
    "changes": True,
    "diff": DIFF,
    "notes": ["port 8888 is taken by a process of yours now"],
    "needs_password": True,
    "plan": "abc",
    "applied": False,
    "port": 8888,
    "secure": True,
    "password": True,
    "url": "https://localhost:8888/",
    "command": "nohup jupyter lab --no-browser >jupyter.log 2>&1 &",
    "started": None,
}
DONE = {**ANSWER, "applied": True, "needs_password": False}
WISHES = {
    "port": None,
    "directory": None,
    "password": "keep",
    "tls": None,
    "renew": False,
    "public": False,
    "start": False,
    "undo": False,
}


def setup(talk: Talk, params: dict[str, Any]) -> None:
    talk.reply(DONE if params["apply"] else ANSWER)


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def piped(client: Client, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        client.command("setup", "gpu", *words),
        env=client.environ,
        input=text,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        start_new_session=True,
    )


def test_a_person_sees_agrees_and_types_the_password_twice(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"setup": setup}) as daemon:
        with client.in_terminal("setup", "gpu", "--port", "9999", "--tls") as terminal:
            terminal.wait_for("argon2:… (new)")
            terminal.wait_for("do this? (yes/no)")
            terminal.type("yes\n")
            seen = 0
            for question in ("New password for Jupyter: ", "The same again: "):
                seen = terminal.wait_for(question, after=seen)
                assert not terminal.echoes()
                terminal.type(f"not {question}\n")
            seen = terminal.wait_for("They differ.", after=seen)
            seen = terminal.wait_for("New password for Jupyter: ", after=seen)
            terminal.type("s3cret\n")
            terminal.wait_for("The same again: ", after=seen)
            terminal.type("s3cret\n")
            assert terminal.wait() == 0
            shown = "\n".join(terminal.screen())
        (_, first), (_, second) = daemon.calls
    assert "s3cret" not in shown
    assert "jtunnel setup gpu --start" in shown
    wishes = {**WISHES, "port": 9999, "tls": True}
    assert first == {"name": "gpu", "wishes": wishes, "password": "", "apply": False, "interactive": True}
    assert second["wishes"] == {**wishes, "port": 8888, "plan": "abc"}
    assert second["password"] == "s3cret"
    assert "s3cret" not in json.dumps(second["wishes"])


def test_no_is_no(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"setup": setup}) as daemon:
        with client.in_terminal("setup", "gpu") as terminal:
            terminal.wait_for("do this? (yes/no)")
            terminal.type("no\n")
            assert terminal.wait() == 1
            assert "nothing was changed" in "\n".join(terminal.screen())
        assert len(daemon.calls) == 1


def test_a_dry_run_shows_the_difference_and_ends(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"setup": setup}) as daemon:
        done = client.run("setup", "gpu", "--dry-run")
        assert len(daemon.calls) == 1
    assert (done.returncode, done.stdout) == (0, "\n".join([*DIFF, ""]))
    assert done.stderr == "jtunnel: gpu: port 8888 is taken by a process of yours now\n"


def test_scripts_give_the_password_on_standard_input(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"setup": setup}) as daemon:
        done = piped(client, "s3cret\n", "--password-stdin", "--yes")
        assert [params["password"] for _, params in daemon.calls] == ["s3cret", "s3cret"]
        assert daemon.calls[0][1]["wishes"]["password"] == "set"
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    assert "to start it there: nohup jupyter lab" in done.stderr


@pytest.mark.parametrize(
    ("words", "text", "said"),
    [
        (["--yes"], "", "give it with --password-stdin, or do without: --no-password"),
        ([], "", "to do it without a question: add --yes"),
        (["--password-stdin", "--yes"], "\n", "is empty"),
        (["--password-stdin", "--no-password"], "x\n", "exclude each other"),
        (["--port", "70000"], "", "expected a port number, or auto"),
        (["--undo", "--port", "1"], "", "--undo goes with --dry-run and --yes only"),
    ],
)
def test_wrong_words(client: Client, words: list[str], text: str, said: str) -> None:
    with ScriptedDaemon(client.runtime_dir, {"setup": setup}):
        done = piped(client, text, *words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr.splitlines()[-1]


def test_nothing_to_change(client: Client) -> None:
    same = {**ANSWER, "changes": False, "diff": [], "notes": [], "needs_password": False}
    with ScriptedDaemon(client.runtime_dir, {"setup": same}) as daemon:
        done = client.run("setup", "gpu")
        assert len(daemon.calls) == 1
    assert done.returncode == 0
    assert done.stdout == "gpu  nothing to change on ln01\n"


def test_start_goes_on_to_the_tunnel(client: Client) -> None:
    same = {**DONE, "changes": False, "diff": [], "started": {"pid": 7, "log": "/log"}}

    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(tunnel()))

    answers = {"setup": same, "up": {"names": ["gpu"]}, "watch": watch}
    with ScriptedDaemon(client.runtime_dir, answers) as daemon:
        done = client.run("setup", "gpu", "--start")
        assert [method for method, _ in daemon.calls] == ["setup", "setup", "up", "watch"]
        assert daemon.calls[1][1]["wishes"]["start"]
    assert done.returncode == 0, done.stderr
    assert "started as process 7" in done.stderr


def test_prompts_of_the_connection_are_answered(client: Client) -> None:
    def asks(talk: Talk, params: dict[str, Any]) -> None:
        assert talk.prompt(tunnel="gpu", kind="password", message="me@gpu's password:", echo=False) == "pw"
        talk.reply({**ANSWER, "changes": False, "diff": []})

    with (
        ScriptedDaemon(client.runtime_dir, {"setup": asks}),
        client.in_terminal("setup", "gpu", "--dry-run") as terminal,
    ):
        terminal.wait_for("me@gpu's password:")
        terminal.type("pw\n")
        assert terminal.wait() == 0
