"""The accounts and the sshd that other tests stand on: real logins by OpenSSH's own client."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.support import processes
from tests.support.accounts import Account, new_account
from tests.support.home import Home
from tests.support.keys import Key, make_key
from tests.support.programs import find_program
from tests.support.pseudo_terminal import PseudoTerminal
from tests.support.sshd import Sshd

TIMEOUT_S = 20.0


def add_box(home: Home, sshd: Sshd, identity: Key | None) -> None:
    home.add_host("box", port=sshd.port, user=sshd.account.name, identity=identity, host_key=sshd.host_key)


def run_ssh(home: Home, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        home.ssh("box", command), env=home.env, capture_output=True, text=True, timeout=TIMEOUT_S
    )


def test_login_is_the_account_in_its_own_home(
    sshd: Sshd, home: Home, account: Account, client_key: Key
) -> None:
    add_box(home, sshd, client_key)
    ended = run_ssh(home, "id -un; echo $HOME")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [account.name, account.home]


def test_another_key_is_refused(sshd: Sshd, home: Home, tmp_path: Path) -> None:
    add_box(home, sshd, make_key(str(tmp_path)))
    ended = run_ssh(home, "true")
    assert ended.returncode == 255
    assert "Permission denied" in ended.stderr


@pytest.mark.root
def test_a_new_account_is_another_user_and_leaves_nothing(host_key: Key, client_key: Key, home: Home) -> None:
    with new_account() as user, Sshd(host_key, user, authorized=[client_key]) as sshd:
        assert user.uid != os.getuid()
        add_box(home, sshd, client_key)
        ended = run_ssh(home, "touch /tmp/$(id -un); nohup sleep 600 >/dev/null 2>&1 & echo $!")
        sleeper = psutil.Process(int(ended.stdout))
        assert sleeper in user.processes()
    assert not processes.is_live(sleeper)
    assert not os.path.exists(user.home)
    assert not os.path.exists(f"/tmp/{user.name}")
    with pytest.raises(KeyError):
        pwd.getpwnam(user.name)


@pytest.mark.root
@pytest.mark.parametrize(
    ("shell", "file"), [("bash", ".profile"), ("tcsh", ".cshrc"), ("fish", ".config/fish/config.fish")]
)
def test_a_start_up_file_puts_a_directory_on_the_path(
    shell: str, file: str, host_key: Key, client_key: Key, home: Home
) -> None:
    with (
        new_account(find_program(shell)) as user,
        Sshd(host_key, user, authorized=[client_key]) as sshd,
    ):
        user.put_on_path("/opt/jt-test/bin", file)
        add_box(home, sshd, client_key)
        # tcsh takes no command beside -l, and reads its file without it.
        ended = run_ssh(home, "printenv PATH" if shell == "tcsh" else "exec $SHELL -l -c 'printenv PATH'")
        assert "/opt/jt-test/bin" in ended.stdout.split(":"), ended


def test_sessions_get_the_environment_that_was_asked_for(
    account: Account, host_key: Key, client_key: Key, home: Home
) -> None:
    env = {"PATH": "/opt/jt-test/bin:/usr/bin:/bin", "WORDS": "a b"}
    with Sshd(host_key, account, authorized=[client_key], env=env) as sshd:
        add_box(home, sshd, client_key)
        assert run_ssh(home, "echo $PATH; echo $WORDS").stdout == "/opt/jt-test/bin:/usr/bin:/bin\na b\n"


def test_options_hold_after_a_restart_on_the_same_port(sshd: Sshd, home: Home, client_key: Key) -> None:
    add_box(home, sshd, client_key)
    port = sshd.port
    sshd.restart(options={"ForceCommand": "echo forced"})
    assert sshd.port == port
    assert run_ssh(home, "echo asked").stdout == "forced\n"


@pytest.mark.parametrize("keep_sessions", [True, False])
def test_restart_keeps_or_ends_sessions(keep_sessions: bool, sshd: Sshd, home: Home, client_key: Key) -> None:
    add_box(home, sshd, client_key)
    client = subprocess.Popen(
        home.ssh("box", "echo up; exec cat"), env=home.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert client.stdout.readline() == "up\n"
        assert sshd.sessions()
        sshd.restart(keep_sessions=keep_sessions)
        if keep_sessions:
            client.stdin.write("still\n")
            client.stdin.flush()
            assert client.stdout.readline() == "still\n"
            sshd.drop_sessions()
        assert client.wait(TIMEOUT_S) == 255
    assert sshd.sessions() == []


def test_a_frozen_sshd_answers_nothing_until_it_thaws(sshd: Sshd, home: Home, client_key: Key) -> None:
    add_box(home, sshd, client_key)
    mark = sshd.log.mark()
    with sshd.frozen():
        client = subprocess.Popen(
            home.ssh("box", "echo late"), env=home.env, stdout=subprocess.PIPE, text=True
        )
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(0.5)
    out, _ = client.communicate(timeout=TIMEOUT_S)
    assert out == "late\n"
    sshd.log.wait_for("Accepted publickey", TIMEOUT_S, mark)


@pytest.mark.root
def test_a_password_typed_into_the_terminal(remote_user: Account, host_key: Key, home: Home) -> None:
    assert remote_user.password is not None
    with Sshd(host_key, remote_user, options={"PasswordAuthentication": "yes"}) as sshd:
        add_box(home, sshd, None)
        command = home.ssh("box", "id -un", options=["-o", "PubkeyAuthentication=no"], batch=False)
        with PseudoTerminal(command, home.env) as terminal:
            terminal.wait_for("password: ")
            terminal.type(f"{remote_user.password}\r")
            assert terminal.wait() == 0
            assert remote_user.name in terminal.shown
            assert remote_user.password not in terminal.shown


def test_the_tests_see_no_real_home(home: Home) -> None:
    real = pwd.getpwuid(os.getuid()).pw_dir
    assert os.environ["HOME"] != real
    assert home.path not in (real, os.environ["HOME"])
    assert "SSH_AUTH_SOCK" not in os.environ
