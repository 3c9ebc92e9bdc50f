"""`up` and `restart` as programs against a scripted daemon: waiting, reporting, exit codes, progress."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jtunnel.errors import ConfigError
from jtunnel.status import Problem, StatusDocument
from tests.support.pseudo_terminal import WAIT_S
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, forward, jupyter, tunnel
from tests.support.thin_client import Client

UNREACHABLE: Problem = {"kind": "host-unreachable", "message": "gpu-box: no route", "advice": "check the VPN"}
REFUSED: Problem = {"kind": "auth-failed", "message": "gpu-box refused the login", "advice": "check the key"}
INTERNAL: Problem = {"kind": "internal", "message": "a bug in jtunnel", "advice": "see the log"}
NOT_LISTENING: Problem = {
    "kind": "target-refused",
    "message": "nobody listens at localhost:6006",
    "advice": "start it",
}
CONFIG: Problem = {
    "kind": "config-invalid",
    "message": "c.toml line 3: unknown key",
    "advice": "did you mean host?",
}

Script = Callable[[Talk, dict[str, Any]], None]


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def snapshots(*documents: StatusDocument) -> Script:
    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        for shown in documents:
            talk.snapshot(shown)

    return watch


def test_ends_with_the_address(client: Client) -> None:
    watch = snapshots(
        document(tunnel(state="connecting")),
        document(tunnel(state="starting", jupyter=jupyter("starting"))),
        document(tunnel()),
    )
    with ScriptedDaemon(client.runtime_dir, {"up": {"names": ["gpu"]}, "watch": watch}) as daemon:
        done = client.run("up", "gpu")
        assert daemon.calls == [
            ("up", {"names": ["gpu"], "tags": [], "all": False, "interactive": False}),
            ("watch", {"names": ["gpu"]}),
        ]
    assert (done.returncode, done.stdout) == (0, "gpu  up  http://localhost:8888/lab\n")
    assert done.stderr.splitlines() == [
        "jtunnel: gpu: connecting to gpu-box",
        "jtunnel: gpu: starting JupyterLab",
    ]


def test_words_are_passed_on(client: Client) -> None:
    answers: dict[str, Any] = {"up": {"names": []}, "down": {"names": []}, "watch": {}}
    with ScriptedDaemon(client.runtime_dir, answers) as daemon:
        assert client.run("up", "--tag", "work", "--tag", "home", "--no-wait").returncode == 0
        assert client.run("down", "--all").returncode == 0
        assert client.run("down", "x", "--tag", "work").returncode == 0
        assert daemon.calls == [
            ("up", {"names": [], "tags": ["work", "home"], "all": False, "interactive": False}),
            ("down", {"names": [], "tags": [], "all": True}),
            ("down", {"names": ["x"], "tags": ["work"], "all": False}),
        ]


def test_which_one_is_the_daemons_to_say(client: Client) -> None:
    which = ConfigError("usage", "which profile?", "name one, or --all: gpu, db")
    with ScriptedDaemon(client.runtime_dir, {"up": which, "down": which}):
        for command in ("up", "down"):
            done = client.run(command)
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr == "jtunnel: which profile?; name one, or --all: gpu, db\n"


def test_forwards_without_jupyter_show_where_they_listen(client: Client) -> None:
    status = tunnel("db", jupyter=None, forwards=[forward("5432"), forward("pg", listen="unix:/run/pg")])
    with ScriptedDaemon(client.runtime_dir, {"up": {"names": ["db"]}, "watch": snapshots(document(status))}):
        done = client.run("up", "db")
    assert (done.returncode, done.stdout) == (0, "db  up  127.0.0.1:5432, unix:/run/pg\n")


def test_a_target_that_does_not_listen_yet_is_only_a_note(client: Client) -> None:
    status = tunnel(forwards=[forward(problem=NOT_LISTENING)])
    answers = {"up": {"names": ["gpu"]}, "watch": snapshots(document(status, config_problem=CONFIG))}
    with ScriptedDaemon(client.runtime_dir, answers):
        done = client.run("up")
    assert (done.returncode, done.stdout) == (0, "gpu  up  http://localhost:8888/lab\n")
    assert done.stderr.splitlines() == [
        "jtunnel: gpu: forward 6006: nobody listens at localhost:6006; start it",
        "jtunnel: config: c.toml line 3: unknown key; did you mean host?",
    ]


@pytest.mark.parametrize(
    ("problems", "code"),
    [
        ([REFUSED], 4),
        ([INTERNAL], 1),
        ([None, REFUSED], 4),
        ([INTERNAL, REFUSED], 4),
        ([None, INTERNAL], 1),
    ],
)
def test_blocked_tunnels_decide_the_exit_code(
    client: Client, problems: list[Problem | None], code: int
) -> None:
    tunnels = [
        tunnel(f"t{number}", "blocked" if problem else "up", problem=problem)
        for number, problem in enumerate(problems)
    ]
    names = [status["name"] for status in tunnels]
    with ScriptedDaemon(client.runtime_dir, {"up": {"names": names}, "watch": snapshots(document(*tunnels))}):
        done = client.run("up", "--all")
    assert done.returncode == code
    assert done.stdout.count("up") == problems.count(None)
    for number, problem in enumerate(problems):
        if problem:
            assert f"jtunnel: t{number}: {problem['message']}; {problem['advice']}\n" in done.stderr


def test_waits_for_the_others_when_one_is_blocked(client: Client) -> None:
    blocked = tunnel("a", "blocked", problem=REFUSED)
    watch = snapshots(document(blocked, tunnel("b", "connecting")), document(blocked, tunnel("b")))
    with ScriptedDaemon(client.runtime_dir, {"up": {"names": ["a", "b"]}, "watch": watch}):
        done = client.run("up", "--all")
    assert (done.returncode, done.stdout) == (4, "b  up  http://localhost:8888/lab\n")


def test_timeout_says_why_and_what_goes_on(client: Client) -> None:
    watch = snapshots(document(tunnel(state="retrying", problem=UNREACHABLE)))
    with ScriptedDaemon(client.runtime_dir, {"up": {"names": ["gpu"]}, "watch": watch}):
        done = client.run("up", "--timeout", "0.3")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        "jtunnel: gpu: not up after 0.3 s: gpu-box: no route; check the VPN; "
        "it is still wanted and goes on trying: jtunnel status gpu"
    )


def test_timeout_of_a_daemon_that_shows_nothing(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"up": {"names": ["gpu"]}, "watch": {}}):
        done = client.run("up", "--timeout", "0.3")
    assert done.returncode == 1
    assert "gpu: not up after 0.3 s" in done.stderr


def test_time_in_a_queue_is_not_counted(client: Client) -> None:
    queued = threading.Event()

    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(tunnel(state="queued"), tunnel("other", "retrying", problem=UNREACHABLE)))
        queued.set()
        # The other tunnel's time is up long before this one's job starts.
        assert not threading.Event().wait(1.0)
        talk.snapshot(document(tunnel(), tunnel("other", "retrying", problem=UNREACHABLE)))

    with ScriptedDaemon(client.runtime_dir, {"up": {"names": ["gpu", "other"]}, "watch": watch}):
        done = client.run("up", "--all", "--timeout", "0.5")
    assert queued.is_set()
    assert (done.returncode, done.stdout) == (1, "gpu    up  http://localhost:8888/lab\n")
    assert "other: not up after 0.5 s" in done.stderr
    assert "gpu: not up" not in done.stderr


def test_taken_down_or_removed_meanwhile(client: Client) -> None:
    watch = snapshots(document(tunnel("a", "connecting")), document(tunnel("a", "down", wanted=False)))
    with ScriptedDaemon(client.runtime_dir, {"up": {"names": ["a", "b"]}, "watch": watch}):
        done = client.run("up", "--all")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        "jtunnel: a: taken down while it came up; to bring it up: jtunnel up a",
        "jtunnel: b: gone from the config while it came up; see what is there: jtunnel status",
    ]


def test_daemon_that_dies_meanwhile(client: Client) -> None:
    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(tunnel(state="connecting")))
        talk.hang_up()

    with ScriptedDaemon(client.runtime_dir, {"up": {"names": ["gpu"]}, "watch": watch}):
        done = client.run("up")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "jtunnel: the daemon has ended; start it with: jtunnel up"


def test_ctrl_c_says_what_stays_wanted(client: Client) -> None:
    watch = snapshots(document(tunnel(state="connecting")))
    with ScriptedDaemon(client.runtime_dir, {"up": {"names": ["gpu"]}, "watch": watch}):
        process = client.start("up")
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=WAIT_S)
    assert (process.returncode, stdout) == (130, "")
    assert stderr == "jtunnel: gpu: still wanted and coming up; to stop that: jtunnel down gpu\n"


def test_progress_is_painted_in_place(client: Client) -> None:
    go_on = threading.Event()

    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(tunnel(state="connecting"), tunnel("other", "connecting")))
        assert go_on.wait(WAIT_S)
        talk.snapshot(document(tunnel(), tunnel("other", "starting", jupyter=jupyter("starting"))))
        talk.snapshot(document(tunnel(), tunnel("other")))

    with (
        ScriptedDaemon(client.runtime_dir, {"up": {"names": ["gpu", "other"]}, "watch": watch}),
        client.in_terminal("up", "--all", columns=40) as terminal,
    ):
        # The second time, by the clock alone.
        terminal.wait_for("other  connecting", after=terminal.wait_for("other  connecting"))
        terminal.wait_for("\n\x1b[J", after=terminal.shown.rindex("other  connecting"))
        before = [line.partition(",")[0] for line in terminal.screen(40)]
        go_on.set()
        assert terminal.wait() == 0
    assert before == ["gpu    connecting to gpu-box", "other  connecting to other-box"]
    assert "starting JupyterLab" in terminal.shown
    assert terminal.screen(40) == [
        "gpu    up  http://localhost:8888/lab",
        "other  up  http://localhost:8888/lab",
    ]


def test_result_in_a_pipe_leaves_the_progress_on_the_terminal(client: Client) -> None:
    reading, writing = os.pipe()
    with (
        ScriptedDaemon(
            client.runtime_dir, {"up": {"names": ["gpu"]}, "watch": snapshots(document(tunnel()))}
        ),
        client.in_terminal("up", stdout=writing) as terminal,
    ):
        os.close(writing)
        assert terminal.wait() == 0
    with open(reading) as pipe:
        assert pipe.read() == "gpu  up  http://localhost:8888/lab\n"
    assert terminal.screen() == ["gpu  up  http://localhost:8888/lab"]


def test_progress_of_many_fits_a_low_terminal(client: Client) -> None:
    names = [f"t{number}" for number in range(30)]
    connecting = document(*(tunnel(name, "connecting") for name in names))
    with (
        ScriptedDaemon(client.runtime_dir, {"up": {"names": names}, "watch": snapshots(connecting)}),
        client.in_terminal("up", "--all", rows=8) as terminal,
    ):
        terminal.wait_for("… and 24 more")
        assert [line.partition(" ")[0] for line in terminal.screen()] == [*names[:6], "…"]
        terminal.type("\x03")
        assert terminal.wait() == 130
    assert "30 tunnels: still wanted" in terminal.shown


def test_restart_of_all_leaves_alone_what_is_down(client: Client) -> None:
    before, after = tunnel(), tunnel(since="2026-11-22T04:00:01Z")
    answers = {
        "status": document(before, tunnel("old", "down")),
        "restart": {"names": ["gpu"], "also": []},
        "watch": snapshots(document(after)),
    }
    with ScriptedDaemon(client.runtime_dir, answers) as daemon:
        assert client.run("restart", "--all").returncode == 0
        assert daemon.calls[1] == ("restart", {"names": ["gpu"], "tags": [], "interactive": False})
    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel("old", "down"))}):
        done = client.run("restart", "--all")
    assert done.returncode == 1
    assert done.stderr == "jtunnel: no tunnel is wanted; want one with: jtunnel up NAME\n"


def test_restart_names_those_that_share_the_link(client: Client) -> None:
    before, after = tunnel(), tunnel(since="2026-11-22T04:00:01Z")
    lost = tunnel(state="retrying", since="2026-11-22T04:00:00.900Z", problem=UNREACHABLE)
    answers = {
        "status": document(before),
        "restart": {"names": ["gpu"], "also": ["db"]},
        # The old connection may still look well at first.
        "watch": snapshots(document(before), document(lost), document(after)),
    }
    with ScriptedDaemon(client.runtime_dir, answers) as daemon:
        done = client.run("restart", "gpu")
        assert daemon.calls[1] == ("restart", {"names": ["gpu"], "tags": [], "interactive": False})
    assert (done.returncode, done.stdout) == (0, "gpu  up  http://localhost:8888/lab\n")
    assert done.stderr.splitlines() == [
        "jtunnel: restarted too, since the connection is shared: db",
        "jtunnel: gpu: retrying: gpu-box: no route",
    ]


def refused(retry_at: str | None, problem: Problem = REFUSED) -> StatusDocument:
    """A login that worked before, was refused, and is tried once more by itself."""
    return document(tunnel(state="retrying", problem=problem, retry_at=retry_at))


def test_a_refused_login_is_said_to_the_person_at_once(client: Client) -> None:
    # What failed before it was asked for is no answer to it.
    before, dialling = refused("2036-11-22T04:00:10Z", {**REFUSED, "message": "an hour ago"}), refused(None)
    watch = snapshots(before, dialling, refused("2036-11-22T04:00:40Z"))
    with (
        ScriptedDaemon(client.runtime_dir, {"up": {"names": ["gpu"]}, "watch": watch}),
        client.in_terminal("up", "gpu") as terminal,
    ):
        assert terminal.wait() == 4
    assert terminal.screen() == [
        "jtunnel: gpu: gpu-box refused the login; check the key",
    ]


def test_a_script_waits_for_the_one_more_try(client: Client) -> None:
    watch = snapshots(refused(None), refused("2036-11-22T04:00:40Z"), document(tunnel()))
    with ScriptedDaemon(client.runtime_dir, {"up": {"names": ["gpu"]}, "watch": watch}):
        done = client.run("up", "gpu")
    assert (done.returncode, done.stdout) == (0, "gpu  up  http://localhost:8888/lab\n")


def test_a_forward_that_other_machines_reach_is_a_warning(client: Client) -> None:
    status = tunnel(forwards=[forward("8080", listen="0.0.0.0:8080"), forward("6006")])
    answers = {"up": {"names": ["gpu"]}, "watch": snapshots(document(status))}
    with ScriptedDaemon(client.runtime_dir, answers):
        done = client.run("up")
    assert done.returncode == 0
    assert done.stderr == (
        "jtunnel: gpu: forward 8080 listens on 0.0.0.0:8080: other machines reach it; "
        "to keep it to this one, let it listen on a port alone\n"
    )


def test_another_config_than_the_daemons_is_said(client: Client) -> None:
    client.environ["JTUNNEL_CONFIG"] = "/elsewhere.toml"
    answers = {"up": {"names": ["gpu"]}, "watch": snapshots(document(tunnel()))}
    with ScriptedDaemon(client.runtime_dir, answers):
        done = client.run("up")
    assert done.returncode == 0
    assert done.stderr.startswith("jtunnel: JTUNNEL_CONFIG is /elsewhere.toml, but the daemon reads ")


def test_a_server_known_before_is_checked_and_not_looked_for(client: Client) -> None:
    watch = snapshots(
        document(tunnel(state="starting", jupyter=jupyter("searching", url=None))),
        document(tunnel(state="starting", jupyter=jupyter("searching"))),
        document(tunnel()),
    )
    with ScriptedDaemon(client.runtime_dir, {"up": {"names": ["gpu"]}, "watch": watch}):
        done = client.run("up")
    assert done.stderr.splitlines() == ["jtunnel: gpu: looking for Jupyter", "jtunnel: gpu: checking Jupyter"]
