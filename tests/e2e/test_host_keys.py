"""Host keys: shown to a person, remembered as OpenSSH does, and never overwritten."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.keys import Key, make_key
from tests.support.profiles import profile
from tests.support.ssh_server import FaultyServer
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port

SURE = "Are you sure you want to continue connecting (yes/no)? "
CTRL_C = "\x03"
TIMEOUT_S = 20


@pytest.fixture
def stranger(home: Home, sshd: Sshd, account: Account, client_key: Key) -> Sshd:
    """An sshd called `box` whose host key nobody has seen yet."""
    home.add_host("box", port=sshd.port, user=account.name, identity=client_key, host_key=None)
    return sshd


def test_an_unknown_host_key_is_shown_and_remembered(
    jtunnel: Jtunnel, stranger: Sshd, echo: EchoServer, home: Home, host_key: Key
) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    with jtunnel.spawn("up", "a") as terminal:
        asked = terminal.wait_for(SURE)
        assert f"host '[127.0.0.1]:{stranger.port} (127.0.0.1)' can't be established" in terminal.shown
        assert f"ED25519 key fingerprint is {host_key.fingerprint}." in terminal.shown
        assert terminal.echoes()
        terminal.type("sure\r")
        asked = terminal.wait_for("Please type 'yes' or 'no': ", after=asked)
        assert not os.path.exists(home.known_hosts)
        terminal.type("yes\r")
        assert terminal.wait() == 0
        assert f"a  up  127.0.0.1:{port}" in terminal.shown
    name = f"[127.0.0.1]:{stranger.port}"
    found = subprocess.run(
        ["ssh-keygen", "-F", name, "-f", home.known_hosts], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert host_key.public.split()[1] in found.stdout
    ssh = home.ssh("box", "true", options=("-o", "StrictHostKeyChecking=yes"))
    assert subprocess.run(ssh, env=home.env, capture_output=True, timeout=TIMEOUT_S).returncode == 0
    # It is asked once: now nobody needs to be there.
    jtunnel.check("shutdown")
    jtunnel.check("up", "a")
    with dial(port) as client:
        assert echoes(client)


@pytest.mark.parametrize("answer", ["no\r", CTRL_C, "\x04"])
def test_a_host_key_that_is_not_accepted(jtunnel: Jtunnel, stranger: Sshd, home: Home, answer: str) -> None:
    jtunnel.write_config(profile("a"))
    with jtunnel.spawn("up", "a") as terminal:
        terminal.wait_for(SURE)
        terminal.type(answer)
        assert terminal.wait() == 4
        assert "was not accepted" in terminal.shown
    assert jtunnel.blocked_by("a") == "host-key-unknown"
    assert not os.path.exists(home.known_hosts)


def test_an_unknown_host_key_without_a_terminal(
    jtunnel: Jtunnel, stranger: Sshd, home: Home, host_key: Key
) -> None:
    jtunnel.write_config(profile("a"))
    ended = jtunnel.run("up", "a")
    assert ended.returncode == 4
    assert host_key.fingerprint in ended.stderr
    assert "in a terminal" in ended.stderr
    assert jtunnel.blocked_by("a") == "host-key-unknown"
    assert not os.path.exists(home.known_hosts)


def test_a_changed_host_key_is_no_question(
    jtunnel: Jtunnel, stranger: Sshd, home: Home, host_key: Key, tmp_path: os.PathLike[str]
) -> None:
    home.trust(make_key(os.fspath(tmp_path)), port=stranger.port)
    with open(home.known_hosts) as file:
        before = file.read()
    jtunnel.write_config(profile("a"))
    with jtunnel.spawn("up", "a") as terminal:
        assert terminal.wait() == 4
        assert "yes/no" not in terminal.shown
        shown = "".join(terminal.screen())
        assert host_key.fingerprint in shown
        assert f"ssh-keygen -R '[127.0.0.1]:{stranger.port}'" in shown
    assert jtunnel.blocked_by("a") == "host-key-changed"
    with open(home.known_hosts) as file:
        assert file.read() == before
    assert stranger.sessions() == []
    # The advice, followed.
    subprocess.run(
        ["ssh-keygen", "-R", f"[127.0.0.1]:{stranger.port}", "-f", home.known_hosts],
        capture_output=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    with jtunnel.spawn("up", "a") as terminal:
        terminal.wait_for(SURE)
        terminal.type("yes\r")
        assert terminal.wait() == 0


def test_a_host_key_that_changes_while_the_tunnel_is_up(
    jtunnel: Jtunnel, faulty: FaultyServer, tmp_path: os.PathLike[str]
) -> None:
    jtunnel.write_config(profile("a"))
    jtunnel.check("up", "a")
    faulty.host_key = make_key(os.fspath(tmp_path))
    faulty.drop_all()
    jtunnel.wait_state("a", "blocked")
    assert jtunnel.blocked_by("a") == "host-key-changed"


def test_new_host_keys_go_to_the_profiles_own_file(
    jtunnel: Jtunnel, stranger: Sshd, home: Home, host_key: Key
) -> None:
    own = os.path.join(home.path, "keys", "known")
    jtunnel.write_config(profile("a", known_hosts=[own, "~/.ssh/known_hosts"]))
    with jtunnel.spawn("up", "a") as terminal:
        terminal.wait_for(SURE)
        terminal.type("yes\r")
        assert terminal.wait() == 0
    with open(own) as file:
        assert file.read() == host_key.known_hosts_line("127.0.0.1", stranger.port)
    assert stat.S_IMODE(os.stat(own).st_mode) == 0o600
    assert not os.path.exists(home.known_hosts)


def test_the_key_of_a_jump_host_is_asked_for_too(
    jtunnel: Jtunnel, stranger: Sshd, faulty_jump: FaultyServer, home: Home
) -> None:
    jtunnel.write_config(profile("a", jump="jump"))
    assert jtunnel.run("up", "a").returncode == 4
    assert jtunnel.blocked_by("a") == "host-key-unknown"
    with jtunnel.spawn("up", "a") as terminal:
        for server in (faulty_jump, stranger):
            terminal.wait_for(f"host '[127.0.0.1]:{server.port} ")
            terminal.wait_for(SURE, after=terminal.shown.rindex("authenticity"))
            terminal.type("yes\r")
        assert terminal.wait() == 0
    with open(home.known_hosts) as file:
        assert len(file.readlines()) == 2
    # The second one was reached over the first, and by no other way.
    assert faulty_jump.counts.channels == [f"127.0.0.1:{stranger.port}"] * 2


@pytest.fixture
def faulty_jump(home: Home, client_key: Key, tmp_path: os.PathLike[str]) -> Iterator[FaultyServer]:
    """A jump host called `jump` whose host key nobody has seen yet."""
    with FaultyServer(make_key(os.fspath(tmp_path)), authorized=[client_key]) as server:
        home.add_host("jump", port=server.port, user="me", identity=client_key, host_key=None)
        yield server
