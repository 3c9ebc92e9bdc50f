"""`jtunnel logs`: the daemon's log without a daemon, followed through rotation, and the remote log."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jtunnel import wire
from jtunnel.client.logs import LineFilter, LogFile
from jtunnel.client.remote_log import fresh_lines
from jtunnel.errors import ConfigError, ControlError
from tests.support.pseudo_terminal import WAIT_S
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document
from tests.support.thin_client import Client

LINES = [
    "2026-11-22T04:00:00.123Z info    jtunneld 0.1.0 starts",
    "2026-11-22T04:00:01.123Z info    [gpu] connecting to gpu-box",
    "2026-11-22T04:00:01.200Z error   [db] a bug in jtunnel",
    "Traceback (most recent call last):",
    "  KeyError: 2026",
    "2026-11-22T04:00:02.123Z info    [gpu] [db] is not mine",
]


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def log_path(client: Client) -> str:
    return os.path.join(client.state_dir, "jtunnel.log")


def append(path: str, *lines: str) -> None:
    with open(path, "a") as file:
        file.writelines(f"{line}\n" for line in lines)


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def test_works_without_a_daemon(client: Client) -> None:
    append(log_path(client), *LINES)
    done = client.run("logs")
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, LINES, "")
    assert client.run("logs", "--lines", "2").stdout.splitlines() == LINES[-2:]
    assert client.run("logs", "--lines", "0").stdout == ""


def test_one_tunnels_lines(client: Client) -> None:
    append(log_path(client), *LINES)
    assert client.run("logs", "gpu").stdout.splitlines() == [LINES[1], LINES[5]]
    assert client.run("logs", "gpu", "--lines", "1").stdout.splitlines() == [LINES[5]]


def test_a_name_that_nobody_knows(client: Client) -> None:
    append(log_path(client), *LINES)
    done = client.run("logs", "g")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"jtunnel: no profile 'g' in {client.config_file}; see them with: jtunnel status\n"
    error = ConfigError("unknown-profile", "no profile 'g' in c.toml", "did you mean gpu?")
    with ScriptedDaemon(client.runtime_dir, {"status": error}) as daemon:
        done = client.run("logs", "g")
        assert daemon.calls == [("status", {"names": ["g"]})]
    assert (done.returncode, done.stderr) == (2, "jtunnel: no profile 'g' in c.toml; did you mean gpu?\n")


def test_one_without_lines_that_is_known(client: Client) -> None:
    append(log_path(client), *LINES)
    with open(client.config_file, "w") as file:
        file.write("[profiles.new]\nhost = 'x'\n")
    said = "jtunnel: the log has no line of new yet; to bring it up: jtunnel up new\n"
    done = client.run("logs", "new")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", said)
    with ScriptedDaemon(client.runtime_dir, {"status": document()}):
        done = client.run("logs", "new")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", said)
    # Where there are lines, nobody is asked.
    with ScriptedDaemon(client.runtime_dir, {}):
        assert client.run("logs", "gpu").returncode == 0


def test_lines_that_continue_another_belong_to_it() -> None:
    keeps = LineFilter("db").keeps
    assert [line for line in LINES if keeps(line)] == LINES[2:5]


def test_no_log_yet(client: Client) -> None:
    done = client.run("logs")
    assert (done.returncode, done.stdout) == (1, "")
    assert log_path(client) in done.stderr


def test_log_that_may_not_be_read_is_one_line(client: Client) -> None:
    os.mkdir(log_path(client))
    done = client.run("logs")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"jtunnel: {log_path(client)}: Is a directory\n"


def test_log_cannot_drive_the_terminal(client: Client) -> None:
    append(log_path(client), "2026-11-22T04:00:00.123Z info    [gpu]\tevil \x1b]0;x\x07")
    assert "\x1b" not in client.run("logs").stdout


def test_follow(client: Client) -> None:
    process = client.start("logs", "-f", "gpu")
    try:
        # It waits for the log of a daemon that has not started yet.
        assert process.stderr is not None
        assert "waiting for a log" in process.stderr.readline()
        append(log_path(client), *LINES)
        assert [next_line(process), next_line(process)] == [LINES[1], LINES[5]]
        with open(log_path(client), "a") as file:
            file.write("2026-11-22T04:00:03.123Z info    [gpu] in ")
            file.flush()
            file.write("pieces\n")
        assert next_line(process).endswith("in pieces")
        os.rename(log_path(client), log_path(client) + ".1")
        append(log_path(client) + ".1", LINES[1] + " last")
        append(log_path(client), LINES[1] + " first")
        assert [next_line(process), next_line(process)] == [LINES[1] + " last", LINES[1] + " first"]
    finally:
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=WAIT_S)
    assert (process.returncode, stdout, stderr) == (0, "", "")


def test_file_that_is_cut_short_is_read_from_its_start(client: Client) -> None:
    append(log_path(client), *LINES)
    log = LogFile(log_path(client))
    assert list(log.read_lines()) == LINES
    assert list(log.read_lines()) == []
    with open(log_path(client), "w") as file:
        file.write("short\nhalf a li")
    assert list(log.read_lines()) == ["short"]
    append(log_path(client), "ne")
    assert list(log.read_lines()) == ["half a line"]
    os.unlink(log_path(client))
    assert list(log.read_lines()) == []
    log.close()


@pytest.mark.parametrize(
    ("before", "after", "fresh"),
    [
        ([], ["a"], ["a"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["b", "c"], ["c"]),
        (["a", "a"], ["a", "a", "a"], ["a"]),
        (["a", "b"], ["x", "y"], ["x", "y"]),
        (["a", "b"], [], []),
    ],
)
def test_what_is_new_in_the_end_of_a_log(before: list[str], after: list[str], fresh: list[str]) -> None:
    assert fresh_lines(before, after) == fresh


def test_remote(client: Client) -> None:
    answer = {"path": "/home/me/x.log", "text": "one\ntwo \x1b[2J\n"}
    with ScriptedDaemon(client.runtime_dir, {"remote_log": answer}) as daemon:
        done = client.run("logs", "gpu", "--remote", "--lines", "7")
        assert daemon.calls == [("remote_log", {"name": "gpu", "lines": 7})]
    assert (done.returncode, done.stdout) == (0, "one\ntwo �[2J\n")


def test_remote_follows_what_is_new(client: Client) -> None:
    texts = iter(["one\ntwo\n", "two\nthree\n"])

    def remote_log(talk: Talk, params: dict[str, Any]) -> None:
        text = next(texts, None)
        if text is None:
            talk.hang_up()
        else:
            talk.reply({"path": "/x.log", "text": text})

    with ScriptedDaemon(client.runtime_dir, {"remote_log": remote_log}):
        done = client.run("logs", "gpu", "--remote", "-f")
    assert (done.returncode, done.stdout.splitlines()) == (3, ["one", "two", "three"])


def scripted(answers: list[dict[str, Any] | ControlError]) -> Callable[[Talk, dict[str, Any]], None]:
    """A daemon's `remote_log`: these answers, then it is gone."""
    left = iter(answers)

    def remote_log(talk: Talk, params: dict[str, Any]) -> None:
        answer = next(left, None)
        if answer is None:
            talk.hang_up()
        elif isinstance(answer, ControlError):
            talk.fail(wire.PROBLEM, answer.message, answer.problem)
        else:
            talk.reply({"path": "/x.log", "anew": False} | answer)

    return remote_log


def test_remote_follows_by_position_and_through_an_outage(client: Client) -> None:
    much = "x" * 200_000
    answers: list[dict[str, Any] | ControlError] = [
        {"text": f"one\n{much}\nunfini", "position": "7.4.a"},
        ControlError("not-up", "gpu is retrying: no route to gpu-box"),
        {"text": f"unfinished\n{much}\n", "position": "7.15.a"},
        {"text": f"first\n{much}\n", "position": "8.6.b", "anew": True},
    ]
    with ScriptedDaemon(client.runtime_dir, {"remote_log": scripted(answers)}) as daemon:
        done = client.run("logs", "gpu", "--remote", "-f", "--lines", "2")
        asked = [params.get("position") for _, params in daemon.calls]
    assert asked == [None, "7.4.a", "7.4.a", "7.15.a", "8.6.b"]
    assert done.returncode == 3
    assert done.stdout.splitlines() == ["one", much, "unfinished", much, "first", much]
    assert done.stderr.splitlines()[:3] == [
        "jtunnel: gpu is retrying: no route to gpu-box; waiting for it to come back (Ctrl-C ends this)",
        "jtunnel: gpu is back",
        "jtunnel: the log of a new server begins: /x.log",
    ]


def test_remote_log_that_nobody_knows(client: Client) -> None:
    answer = {"path": "", "text": "", "position": "0.0.00000000", "anew": False}
    with ScriptedDaemon(client.runtime_dir, {"remote_log": answer}):
        for words in (["--remote"], ["--remote", "-f"]):
            done = client.run("logs", "gpu", *words)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith("jtunnel: the log of gpu's server is not known: ")


def test_remote_needs_a_name_and_a_connection(client: Client) -> None:
    done = client.run("logs", "--remote")
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs the name of a tunnel" in done.stderr
    error = ControlError("not-up", "gpu is not connected", "connect with: jtunnel up gpu")
    with ScriptedDaemon(client.runtime_dir, {"remote_log": error}):
        assert client.run("logs", "--remote", "gpu").returncode == 1
