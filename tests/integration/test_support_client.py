"""The program under test as the other tests drive it: run, asked in a terminal, watched, ended."""

from __future__ import annotations

import signal
import socket
import subprocess

import psutil
import pytest

from tests.support import processes
from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.keys import Key
from tests.support.sshd import Sshd


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_without_a_daemon_there_is_no_pid_and_nothing_to_close(jtunnel: Jtunnel) -> None:
    assert jtunnel.daemon_pid() is None
    assert jtunnel.run("status").returncode == 3
    jtunnel.close()


def test_a_question_in_the_terminal_then_up_then_gone(
    jtunnel: Jtunnel, sshd: Sshd, home: Home, client_key: Key, account: Account
) -> None:
    home.add_host("box", port=sshd.port, user=account.name, identity=client_key, host_key=None)
    jtunnel.write_config(f'[profiles.plain]\nhost = "box"\nforwards = ["{free_port()}:localhost:9"]\n')
    with jtunnel.spawn("up", "plain") as terminal:
        terminal.wait_for(sshd.host_key.fingerprint)
        terminal.type("yes\r")
        assert terminal.wait() == 0, terminal.shown
    assert jtunnel.wait_state("plain", "up", 10.0)["user"] == account.name
    pid = jtunnel.daemon_pid()
    assert pid is not None
    assert pid == jtunnel.status()["daemon"]["pid"]
    with pytest.raises(AssertionError, match="plain still is"):
        jtunnel.wait_state("plain", "blocked", 0.2)
    daemon = psutil.Process(pid)
    jtunnel.close()
    assert not processes.is_live(daemon)
    assert jtunnel.daemon_pid() is None


def test_close_names_and_ends_what_is_left_in_the_home(jtunnel: Jtunnel) -> None:
    with subprocess.Popen(["sleep", "600"], env=jtunnel.env, start_new_session=True) as stray:
        with pytest.raises(AssertionError, match=f"{stray.pid} sleep 600"):
            jtunnel.close(timeout_s=0.1)
        assert stray.wait(5.0) == -signal.SIGKILL
