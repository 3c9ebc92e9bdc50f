"""Questions of the daemon, answered in a real terminal."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from jtunnel.status import Problem
from tests.support.pseudo_terminal import PseudoTerminal
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, tunnel
from tests.support.thin_client import Client

HOST_KEY = (
    "The authenticity of host 'gpu-box (127.0.0.1)' can't be established.\n"
    "ED25519 key fingerprint is SHA256:abc.\n"
    "Are you sure you want to continue connecting (yes/no)? "
)
GAVE_UP: Problem = {"kind": "input-required", "message": "nobody answered", "advice": "run jtunnel up gpu"}


class Asking:
    """A daemon's `watch` that asks some questions, keeps the answers, and then shows the tunnel up."""

    def __init__(self, *questions: tuple[str, str, bool]) -> None:
        self.answers: list[str | None] = []
        self._questions = questions

    def __call__(self, talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(tunnel(state="connecting")))
        for kind, message, echo in self._questions:
            self.answers.append(talk.prompt(tunnel="gpu", kind=kind, message=message, echo=echo))
        gave_up = None in self.answers
        talk.snapshot(document(tunnel(state="blocked", problem=GAVE_UP) if gave_up else tunnel(state="up")))

    def daemon(self, client: Client) -> ScriptedDaemon:
        return ScriptedDaemon(client.runtime_dir, {"up": {"names": ["gpu"]}, "watch": self})


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def test_host_key_takes_yes_or_no_only(client: Client) -> None:
    asking = Asking(("host-key", HOST_KEY, True))
    with asking.daemon(client) as daemon, client.in_terminal("up") as terminal:
        terminal.wait_for("continue connecting (yes/no)? ")
        assert "fingerprint is SHA256:abc.\r\n" in terminal.shown
        terminal.type("y\r")
        terminal.wait_for("Please type 'yes' or 'no': ")
        terminal.type("YES\r")
        assert terminal.wait() == 0
        assert daemon.calls[0][1]["interactive"] is True
    assert asking.answers == ["yes"]
    assert "gpu  up  http://localhost:8888/lab" in terminal.shown


def test_secret_is_not_shown(client: Client) -> None:
    asking = Asking(("passphrase", "Enter passphrase for key '/k': ", False))
    with asking.daemon(client), client.in_terminal("up") as terminal:
        terminal.wait_for("Enter passphrase for key '/k': ")
        assert not terminal.echoes()
        terminal.type("s3crét \r")
        assert terminal.wait() == 0
        assert terminal.echoes()
    assert asking.answers == ["s3crét "]
    assert "s3cr" not in terminal.shown


def test_code_says_whose_question_it_is_and_cannot_drive_the_terminal(client: Client) -> None:
    asking = Asking(("code", "Welcome\x1b[2J\nVerification code:", True), ("password", "Password: ", False))
    with asking.daemon(client), client.in_terminal("up") as terminal:
        terminal.wait_for("Welcome�[2J\r\n(gpu) Verification code: ")
        assert terminal.echoes()
        terminal.type("123456\r")
        terminal.wait_for("Password: ")
        terminal.type("pw\r")
        assert terminal.wait() == 0
    assert asking.answers == ["123456", "pw"]


@pytest.mark.parametrize("keys", ["\x03", "\x04"])
def test_giving_up_is_an_answer_too(client: Client, keys: str) -> None:
    asking = Asking(("password", "Password: ", False))
    with asking.daemon(client), client.in_terminal("up") as terminal:
        terminal.wait_for("Password: ")
        terminal.type(keys)
        assert terminal.wait() == 4
        assert terminal.echoes()
    assert asking.answers == [None]
    assert terminal.screen()[-1] == "jtunnel: gpu: nobody answered; run jtunnel up gpu"


def test_progress_pauses_while_a_person_types(client: Client) -> None:
    asked = threading.Event()

    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(tunnel(state="connecting"), tunnel("other", "connecting")))
        answer = threading.Thread(
            target=talk.prompt, kwargs={"tunnel": "gpu", "kind": "code", "message": "Code:"}
        )
        answer.start()
        assert asked.wait(20)
        talk.snapshot(document(tunnel(state="connecting"), tunnel("other")))
        answer.join()
        talk.snapshot(document(tunnel(), tunnel("other")))

    answers = {"up": {"names": ["gpu", "other"]}, "watch": watch}
    with ScriptedDaemon(client.runtime_dir, answers), client.in_terminal("up", "--timeout", "1") as terminal:
        position = terminal.wait_for("(gpu) Code: ")
        asked.set()
        # Longer than the timeout, which does not count this, and than the progress rests.
        assert not threading.Event().wait(1.5)
        assert terminal.screen() == ["(gpu) Code:"]
        terminal.type("x\r")
        assert terminal.wait() == 0
    assert "\x1b" not in terminal.shown[position : terminal.shown.index("\r\n", position)]
    assert terminal.screen()[-2:] == [
        "gpu    up  http://localhost:8888/lab",
        "other  up  http://localhost:8888/lab",
    ]


def test_daemon_that_dies_ends_the_question(client: Client) -> None:
    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(tunnel(state="connecting")))
        talk.prompt(tunnel="gpu", kind="password", message="Password: ", echo=False)

    daemon = ScriptedDaemon(client.runtime_dir, {"up": {"names": ["gpu"]}, "watch": watch})
    with daemon, client.in_terminal("up") as terminal:
        terminal.wait_for("Password: ")
        daemon.close()
        assert terminal.wait() == 3
        assert terminal.echoes()


def test_terminal_of_the_session_serves_where_input_is_a_pipe(client: Client) -> None:
    asking = Asking(("password", "Password: ", False))
    with asking.daemon(client), client.in_terminal("up", stdin=os.open(os.devnull, os.O_RDONLY)) as terminal:
        terminal.wait_for("Password: ")
        terminal.type("pw\r")
        assert terminal.wait() == 0
    assert asking.answers == ["pw"]


def test_a_late_answer_is_no_command_of_the_shell(client: Client) -> None:
    go_on = threading.Event()

    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.prompt(tunnel="gpu", kind="passphrase", message="Passphrase:", echo=False)
        talk.snapshot(document(tunnel(state="connecting")))
        go_on.wait(20)
        talk.snapshot(document(tunnel(state="up")))

    command = f'{shlex.join(client.command("up"))}; echo "and then:"; read -r word; echo "<$word>"'
    with (
        ScriptedDaemon(client.runtime_dir, {"up": {"names": ["gpu"]}, "watch": watch}),
        PseudoTerminal(["sh", "-c", command], client.environ) as terminal,
    ):
        terminal.wait_for("Passphrase:")
        terminal.type("wrong\r")
        terminal.wait_for("connecting")
        terminal.type("s3cret\r")
        terminal.wait_for("s3cret")
        go_on.set()
        after = terminal.wait_for("and then:")
        terminal.type("next\r")
        terminal.wait_for("<", after=after)
        assert terminal.wait() == 0
    assert "<next>" in terminal.shown


def test_prompt_never_goes_to_standard_output(client: Client) -> None:
    reading, writing = os.pipe()
    asking = Asking(("code", "Code:", True))
    with asking.daemon(client), client.in_terminal("up", stdout=writing) as terminal:
        os.close(writing)
        terminal.wait_for("(gpu) Code: ")
        terminal.type("123\r")
        assert terminal.wait() == 0
    with open(reading) as pipe:
        assert pipe.read() == "gpu  up  http://localhost:8888/lab\n"


def test_without_a_terminal_nobody_is_asked(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"up": {"names": []}, "watch": {}}) as daemon:
        client.run("up")
        assert daemon.calls[0][1]["interactive"] is False


def test_no_wait_leaves_nobody_to_ask(client: Client) -> None:
    with (
        ScriptedDaemon(client.runtime_dir, {"up": {"names": ["gpu"]}}) as daemon,
        client.in_terminal("up", "--no-wait") as terminal,
    ):
        assert terminal.wait() == 0
        assert daemon.calls == [("up", {"names": [], "tags": [], "all": False, "interactive": False})]


@pytest.mark.parametrize(("keys", "code"), [("yes\r", 0), ("no\r", 1), ("\x03", 1)])
def test_stop_asks_where_kernels_are_busy(client: Client, keys: str, code: int) -> None:
    def stop(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({"stopped": True, "pid": 123} if params["force"] else {"stopped": False, "busy": 2})

    with (
        ScriptedDaemon(client.runtime_dir, {"stop": stop}) as daemon,
        client.in_terminal("stop", "gpu") as terminal,
    ):
        terminal.wait_for("gpu: 2 kernels are busy; stop anyway? (yes/no) ")
        terminal.type(keys)
        assert terminal.wait() == code
        assert [params["force"] for _, params in daemon.calls] == ([False, True] if code == 0 else [False])


def test_stop_without_a_terminal_advises_force(client: Client) -> None:
    answers = {"stop": {"stopped": False, "busy": 1}}
    with ScriptedDaemon(client.runtime_dir, answers):
        done = client.run("stop", "gpu")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "jtunnel: gpu: 1 kernel is busy, so the server was left alone; "
        "to stop it anyway: jtunnel stop gpu --force\n"
    )


def test_stop_tells_the_process_that_ended(client: Client) -> None:
    with ScriptedDaemon(client.runtime_dir, {"stop": {"stopped": True, "pid": 123}}) as daemon:
        done = client.run("stop", "gpu", "--force")
        assert daemon.calls == [("stop", {"name": "gpu", "force": True})]
    assert (done.returncode, done.stdout) == (0, "gpu  stopped  (process 123)\n")
