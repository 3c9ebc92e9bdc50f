"""The command line: help, wrong usage, and the commands that are one call."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from jtunnel import __version__, wire
from jtunnel.client.argument_kinds import BARS
from jtunnel.client.arguments import overview, parse
from jtunnel.client.cli import ELSEWHERE, main
from jtunnel.client.table import COMMANDS, GROUPS, HIDDEN
from jtunnel.client.views import bars
from jtunnel.errors import ControlError
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, tunnel
from tests.support.thin_client import Client

TOKEN = "s3cret-token"
URL = "http://localhost:8888/lab"


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def test_alone_it_helps(client: Client) -> None:
    done = client.run()
    assert (done.returncode, done.stdout) == (2, "")
    for words in (["--help"], ["-h"], ["help"], ["help", "--help"]):
        asked = client.run(*words)
        assert (asked.returncode, asked.stdout, asked.stderr) == (0, done.stderr, "")


def test_the_overview_lists_each_command_once() -> None:
    listed = [name for names in GROUPS.values() for name in names]
    assert sorted(listed) == sorted(COMMANDS)
    lines = overview().splitlines()
    assert all(sum(line.startswith(f"  {name} ") for line in lines) == 1 for name in COMMANDS)
    assert not [name for name in HIDDEN if name in overview()]
    assert all(len(line) <= 80 for line in lines)


def test_version(client: Client) -> None:
    for option in ("--version", "-V"):
        done = client.run(option)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"jtunnel {__version__}\n", "")


@pytest.mark.parametrize("protocol", [wire.PROTOCOL_VERSION, 99])
def test_version_of_the_daemon_too(client: Client, protocol: int) -> None:
    with ScriptedDaemon(client.runtime_dir, {}, protocol=protocol):
        done = client.run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"jtunnel {__version__}\ndaemon 9.9.9 (pid {os.getpid()})\n"


def test_each_command_has_help_with_examples(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command, (summary, examples, arguments, _) in COMMANDS.items():
        assert main([command, "--help"]) == 0
        shown = capsys.readouterr()
        assert shown.err == ""
        lines = shown.out.splitlines()
        assert lines[0].startswith(f"usage: jtunnel {command}")
        assert f"{summary[0].upper()}{summary[1:]}." in lines
        assert {f"  {example}" for example in examples} <= {*lines}
        assert all(flag in shown.out for flags, _ in arguments for flag in flags if flag.startswith("-"))
        assert all(len(line) <= 80 for line in lines), command
        assert examples


def test_help_comes_either_way(client: Client) -> None:
    for command in ("up", "daemon", "service"):
        asked = client.run("help", command)
        assert (asked.returncode, asked.stderr) == (0, "")
        assert asked.stdout == client.run(command, "--help").stdout


def commands_in(line: str) -> Iterator[list[str]]:
    """The words of each call of jtunnel in an example, which may be a line of shell."""
    for part in re.split(r" && | > |[$]\(|\)", line):
        words = shlex.split(part) if part.count('"') % 2 == 0 else []
        if words[:1] == ["jtunnel"]:
            yield words[1:]


EXAMPLES = [(command, line) for command, (_, lines, *_) in COMMANDS.items() for line in lines]


@pytest.mark.parametrize(
    ("command", "line"),
    [*EXAMPLES, ("", "jtunnel up gpu && jtunnel open gpu"), ("", "jtunnel status --watch")],
)
def test_each_example_is_right(command: str, line: str) -> None:
    calls = list(commands_in(line))
    assert calls
    for called, *words in calls:
        assert called == command or (not command and f"  {line}" in overview().splitlines())
        parse(called, words)


@pytest.mark.parametrize("command", [*COMMANDS, *HIDDEN])
def test_each_command_is_there_and_takes_its_arguments(command: str) -> None:
    _, _, arguments, place = COMMANDS.get(command) or HIDDEN[command]
    module, name = place.split(":")
    environ, *taken = inspect.signature(getattr(import_module(f"jtunnel.{module}"), name)).parameters.values()
    if command == "daemon":  # jtunneld's own, which the command line is handed to as it is
        assert (environ.name, taken) == ("argv", [])
        return
    assert environ.name == "environ"
    given = {options.get("dest", flags[-1].lstrip("-")) for flags, options in arguments}
    assert {parameter.name for parameter in taken} == given
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in taken)


def test_the_formats_are_those_of_status() -> None:
    assert tuple(bars.BARS) == BARS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("stauts", "there is no command stauts; did you mean: jtunnel status"),
        ("ls", "there is no command ls; did you mean: jtunnel status"),
        ("connect", "there is no command connect; did you mean: jtunnel up"),
        ("kill", "there is no command kill; did you mean: jtunnel down"),
        ("tail", "there is no command tail; did you mean: jtunnel logs"),
        ("x", "there is no command x; see them with: jtunnel --help"),
        ("--frob", "there is no command --frob; see them with: jtunnel --help"),
        ("help x", "there is no command x; see them with: jtunnel --help"),
        ("status --jsn", "status: unknown option --jsn; did you mean --json? see: jtunnel status --help"),
        ("up gpu --al", "up: unknown option --al; did you mean --all? see: jtunnel up --help"),
        ("up --al=1", "up: unknown option --al=1; did you mean --all? see: jtunnel up --help"),
        ("status --f", "status: unknown option --f; did you mean --format? see: jtunnel status --help"),
        ("status -json", "status: unknown option -json; did you mean --json? see: jtunnel status --help"),
        ("down -x", "down: unknown option -x; see: jtunnel down --help"),
        ("down --frob gpu", "down: unknown option --frob; see: jtunnel down --help"),
        ("url gpu box", "url: 'box' is one word too many; see: jtunnel url --help"),
        (
            "forward gpu* 8009",
            "forward: expected a single name, no pattern, found 'gpu*'; see: jtunnel forward --help",
        ),
        ("up gpu --all", "up: --all goes with no name and no --tag; see: jtunnel up --help"),
        (
            "forward gpu 8043 -R -D",
            "forward: --remote and --dynamic exclude each other; see: jtunnel forward --help",
        ),
        ("rename", "rename: NAME and NEW missing; see: jtunnel rename --help"),
        ("config", "config: check|path|schema missing; see: jtunnel config --help"),
        (
            "config chekc",
            "config: expected check, path or schema, found 'chekc'; see: jtunnel config --help",
        ),
        (
            "status --color blue",
            "status: --color: expected auto, always or never, found 'blue'; see: jtunnel status --help",
        ),
        ("status --json=1", "status: --json: takes no value; see: jtunnel status --help"),
        ("up --tag", "up: --tag: a value is missing behind it; see: jtunnel up --help"),
        (
            "up --timeout soon",
            "up: --timeout: expected a number of seconds, found 'soon'; see: jtunnel up --help",
        ),
        (
            "up --timeout -1",
            "up: --timeout: expected a number of seconds, found '-1'; see: jtunnel up --help",
        ),
        (
            "up --timeout nan",
            "up: --timeout: expected a number of seconds, found 'nan'; see: jtunnel up --help",
        ),
        (
            "logs --lines 1.5",
            "logs: --lines: expected a whole number, found '1.5'; see: jtunnel logs --help",
        ),
        ("logs --lines -1", "logs: --lines: expected a whole number, found '-1'; see: jtunnel logs --help"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: str, said: str) -> None:
    assert main(words.split()) == 2
    assert capsys.readouterr() == ("", f"jtunnel: {said}\n")


def test_what_is_suggested_is_there_and_what_is_there_is_not_suggested_away() -> None:
    assert set(ELSEWHERE.values()) <= set(COMMANDS)
    assert not set(ELSEWHERE) & set(COMMANDS)


@pytest.mark.parametrize("params", ["[]", "{"])
def test_parameters_of_rpc_that_are_none(client: Client, params: str) -> None:
    done = client.run("rpc", "status", params)
    assert (done.returncode, done.stdout) == (2, "")
    assert "one JSON object" in done.stderr


def test_options_stand_anywhere() -> None:
    for line in (
        "gpu box --timeout 5 --no-wait",
        "--timeout=5 gpu --no-wait box",
        "--no-wait --timeout 5 gpu box",
    ):
        assert vars(parse("up", line.split())) == {
            "names": ["gpu", "box"],
            "tags": [],
            "every": False,
            "wait": False,
            "timeout_s": 5.0,
        }


def test_the_short_way_to_status_is_the_same_as_the_long_one() -> None:
    short, long = vars(parse("status", [])), vars(parse("status", ["--json"]))
    assert short == {**long, "as_json": False}


def test_jtunneld_has_a_help_of_its_own(client: Client) -> None:
    for words in (["--version"], ["--help"]):
        done = subprocess.run(
            [os.path.join(sys.prefix, "bin", "jtunneld"), *words],
            env=client.environ,
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "jtunneld" in done.stdout


@pytest.mark.parametrize(
    ("word", "said"), [("foo", "'foo' is one word too many"), ("--foo", "unknown option --foo")]
)
@pytest.mark.parametrize("program", ["jtunneld", "jtunnel daemon"])
def test_jtunneld_takes_no_words(client: Client, program: str, word: str, said: str) -> None:
    name, *words = program.split()
    done = subprocess.run(
        [os.path.join(sys.prefix, "bin", name), *words, word],
        env=client.environ,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"jtunneld: {said}; see: jtunneld --help\n"


def test_closed_standard_streams(client: Client) -> None:
    close = "import os, sys; os.close(0); os.close(1); os.close(2); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", close, *client.command("status")], env=client.environ, timeout=20
    )
    assert done.returncode == 3


def test_output_of_a_terminal_that_knows_no_unicode(client: Client) -> None:
    client.environ["PYTHONIOENCODING"] = "ascii"
    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel("größe"))}):
        done = client.run("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr??e" in done.stdout


def test_a_bug_of_ours_is_one_line(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"url": {}}):
        done = client.run("url", "gpu")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("jtunnel: internal error: KeyError at control.py, line ")
    assert done.stderr.count("\n") == 1


def test_down(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"down": {"names": ["gpu", "database"]}}):
        done = client.run("down", "--all")
    assert (done.returncode, done.stdout) == (0, "gpu       down\ndatabase  down\n")


def test_url_alone_prints_the_token(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"url": {"url": f"{URL}?token={TOKEN}"}}) as daemon:
        done = client.run("url", "gpu")
        assert daemon.calls == [("url", {"name": "gpu"})]
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{URL}?token={TOKEN}\n", "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"added": ["a", "b"], "removed": [], "changed": ["c"]}, "added: a, b\nchanged: c\n"),
        ({"added": [], "removed": ["x"], "changed": []}, "removed: x\n"),
        ({"added": [], "removed": [], "changed": []}, "nothing changed\n"),
    ],
)
def test_reload(client: Client, changes: dict[str, list[str]], said: str) -> None:
    with ScriptedDaemon(client.runtime_dir, {"reload": {**changes, "unchanged": ["z"]}}):
        done = client.run("reload")
    assert (done.returncode, done.stdout) == (0, said)


def test_shutdown_waits_for_the_end(client: Client) -> None:
    def shut_down(talk: Talk, params: dict[str, Any]) -> None:
        talk.hang_up()
        daemon.close()

    with ScriptedDaemon(client.runtime_dir, {"shutdown": shut_down}) as daemon:
        done = client.run("shutdown")
    assert (done.returncode, done.stdout) == (0, "")
    assert not os.path.exists(daemon.path)


def test_rpc(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"url": {"url": "ä"}}) as daemon:
        done = client.run("rpc", "url", '{"name": "gpu"}')
        assert daemon.calls == [("url", {"name": "gpu"})]
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, {"url": "ä"}, "")


def test_rpc_shows_errors_as_they_are(client: Client) -> None:
    def unknown(talk: Talk, params: dict[str, Any]) -> None:
        talk.fail(wire.METHOD_NOT_FOUND, "there is no method 'x'")

    problem = ControlError("not-up", "gpu is not connected", "jtunnel up gpu")
    blocked = ControlError("auth-failed", "gpu-box refused the login", "check the key")
    with ScriptedDaemon(client.runtime_dir, {"x": unknown, "url": problem, "page": blocked}):
        for method, code, error in (
            ("x", 1, {"code": wire.METHOD_NOT_FOUND, "message": "there is no method 'x'"}),
            ("url", 1, {"code": wire.PROBLEM, "message": problem.message, "data": problem.problem}),
            ("page", 4, {"code": wire.PROBLEM, "message": blocked.message, "data": blocked.problem}),
        ):
            done = client.run("rpc", method)
            assert (done.returncode, done.stdout, json.loads(done.stderr)) == (code, "", error)
