"""Questions to a person in a terminal: passphrases, passwords, codes, and who is never asked."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.keys import Key, make_key
from tests.support.profiles import profile
from tests.support.ssh_login import Round
from tests.support.ssh_server import FaultyServer
from tests.support.sshd import Sshd

PASSWORD = "correct-horse-7"
PASSPHRASE = "battery-staple-8"
CODE = "918273"
CTRL_C = "\x03"


@pytest.fixture
def locked(host_key: Key, home: Home) -> Iterator[FaultyServer]:
    """A server called `box` that wants PASSWORD."""
    with FaultyServer(host_key, password=PASSWORD) as server:
        home.add_host("box", port=server.port, user="me", identity=None, host_key=host_key)
        yield server


def files_with(home: Home, secret: str) -> list[str]:
    """The files below the home, its sockets aside, that have the secret in them."""
    found = []
    for directory, _, names in os.walk(home.path):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    if secret.encode() in file.read():
                        found.append(path)
    return found


def test_a_passphrase_is_asked_once(
    jtunnel: Jtunnel, sshd: Sshd, account: Account, home: Home, host_key: Key, tmp_path: os.PathLike[str]
) -> None:
    key = make_key(os.fspath(tmp_path), passphrase=PASSPHRASE)
    sshd.authorize(key)
    home.add_host("box", port=sshd.port, user=account.name, identity=key, host_key=host_key)
    jtunnel.write_config(profile("a"))
    ended = jtunnel.run("up", "a")
    assert ended.returncode == 4
    assert jtunnel.blocked_by("a") == "input-required"
    with jtunnel.spawn("up", "a") as terminal:
        asked = terminal.wait_for(f"Enter passphrase for key '{key.path}': ")
        assert not terminal.echoes()
        terminal.type("not it\r")
        terminal.wait_for(f"Enter passphrase for key '{key.path}': ", after=asked)
        terminal.type(f"{PASSPHRASE}\r")
        assert terminal.wait() == 0
        assert PASSPHRASE not in terminal.shown
    # The key stays unlocked while its link lives, so a lost connection comes back by itself.
    sshd.restart()
    jtunnel.wait_tunnel("a", lambda tunnel: tunnel["reconnects"] == 1 and tunnel["state"] == "up")
    assert files_with(home, PASSPHRASE) == []
    # With its last user the link goes, and with it the key.
    jtunnel.check("down", "a")
    assert jtunnel.run("up", "a").returncode == 4
    assert jtunnel.blocked_by("a") == "input-required"


def test_a_password(jtunnel: Jtunnel, locked: FaultyServer, home: Home) -> None:
    jtunnel.write_config(profile("a") + profile("b"))
    with jtunnel.spawn("up", "--all") as terminal:
        asked = terminal.wait_for(f"me@127.0.0.1:{locked.port}'s password: ")
        assert not terminal.echoes()
        terminal.type("wrong\r")
        asked = terminal.wait_for("'s password: ", after=asked)
        terminal.type(f"{PASSWORD}\r")
        assert terminal.wait() == 0
        # Two tunnels, one link, one question.
        assert terminal.shown.find("'s password: ", asked) == -1
        assert PASSWORD not in terminal.shown
    assert locked.counts.attempts == [("password", "me")] * 2
    assert files_with(home, PASSWORD) == []
    assert PASSWORD not in jtunnel.check("status", "--json")


def test_three_wrong_passwords(jtunnel: Jtunnel, locked: FaultyServer, home: Home) -> None:
    jtunnel.write_config(profile("a"))
    with jtunnel.spawn("up", "a") as terminal:
        asked = 0
        for word in ("wrong-1", "wrong-2", "wrong-3"):
            asked = terminal.wait_for("'s password: ", after=asked)
            terminal.type(f"{word}\r")
        assert terminal.wait() == 4
        assert terminal.shown.count("'s password: ") == 3
        assert "refused the login of me" in "".join(terminal.screen())
    assert jtunnel.blocked_by("a") == "auth-failed"
    assert locked.counts.attempts == [("password", "me")] * 3
    assert files_with(home, "wrong-") == []


def test_a_code_in_two_rounds(jtunnel: Jtunnel, host_key: Key, home: Home) -> None:
    rounds = [
        Round([("Password: ", False)], [PASSWORD], "Site \x1b[31mlogin"),
        Round([("One-time code: ", True)], [CODE]),
        Round(),
    ]
    with FaultyServer(host_key, rounds=rounds) as server:
        home.add_host("box", port=server.port, user="me", identity=None, host_key=host_key)
        jtunnel.write_config(profile("a"))
        with jtunnel.spawn("up", "a") as terminal:
            asked = terminal.wait_for("(a) Password: ")
            assert "Site " in terminal.shown
            assert "\x1b[31m" not in terminal.shown
            assert not terminal.echoes()
            terminal.type(f"{PASSWORD}\r")
            terminal.wait_for("(a) One-time code: ", after=asked)
            assert terminal.echoes()
            terminal.type(f"{CODE}\r")
            assert terminal.wait() == 0
        assert server.counts.attempts == [("keyboard-interactive", "me")]
        assert files_with(home, PASSWORD) == files_with(home, CODE) == []
        # A used code is of no use: a lost connection needs a person again.
        server.drop_all()
        jtunnel.wait_state("a", "blocked")
        assert jtunnel.blocked_by("a") == "input-required"
        assert server.counts.attempts == [("keyboard-interactive", "me")]


def test_ctrl_c_at_a_password(jtunnel: Jtunnel, locked: FaultyServer) -> None:
    jtunnel.write_config(profile("a"))
    with jtunnel.spawn("up", "a") as terminal:
        terminal.wait_for("'s password: ")
        terminal.type(CTRL_C)
        assert terminal.wait() == 4
        assert "Traceback" not in terminal.shown
        assert terminal.echoes()
    assert jtunnel.blocked_by("a") == "input-required"
    assert locked.counts.attempts == []


def test_a_client_that_is_killed_at_its_prompt(jtunnel: Jtunnel, locked: FaultyServer) -> None:
    jtunnel.write_config(profile("a"))
    with jtunnel.spawn("up", "a") as terminal:
        terminal.wait_for("'s password: ")
    jtunnel.wait_state("a", "blocked")
    assert jtunnel.blocked_by("a") == "input-required"
    with jtunnel.spawn("up", "a") as terminal:
        terminal.wait_for("'s password: ")
        terminal.type(f"{PASSWORD}\r")
        assert terminal.wait() == 0


def test_a_background_reconnect_never_asks(
    jtunnel: Jtunnel, locked: FaultyServer, box_without_password: str
) -> None:
    jtunnel.write_config(profile("a") + profile("other", host=box_without_password))
    with jtunnel.spawn("up", "a") as terminal:
        terminal.wait_for("'s password: ")
        terminal.type(f"{PASSWORD}\r")
        assert terminal.wait() == 0
    attempts = list(locked.counts.attempts)
    locked.drop_all()
    jtunnel.wait_state("a", "blocked")
    assert jtunnel.blocked_by("a") == "input-required"
    # A person who wants another tunnel is not asked about this one.
    with jtunnel.spawn("up", "other") as terminal:
        assert terminal.wait() == 0
        assert "password" not in terminal.shown
    assert jtunnel.blocked_by("a") == "input-required"
    assert locked.counts.attempts == attempts
    with jtunnel.spawn("up", "a") as terminal:
        terminal.wait_for("'s password: ")
        terminal.type(f"{PASSWORD}\r")
        assert terminal.wait() == 0
    assert jtunnel.tunnel("a")["reconnects"] == 1


@pytest.fixture
def box_without_password(host_key: Key, home: Home) -> Iterator[str]:
    """The name of a server that lets everybody in."""
    with FaultyServer(host_key) as server:
        home.add_host("open", port=server.port, user="me", identity=None, host_key=host_key)
        yield "open"


def test_a_server_that_hangs_up_on_a_person_who_thinks(jtunnel: Jtunnel, locked: FaultyServer) -> None:
    jtunnel.write_config(profile("a"))
    with jtunnel.spawn("up", "a") as terminal:
        terminal.wait_for("'s password: ")
        locked.drop_all()
        jtunnel.wait_state("a", "blocked")
        assert jtunnel.blocked_by("a") == "input-required"
        # What was meant for a connection that is gone goes nowhere.
        terminal.type(f"{PASSWORD}\r")
        assert terminal.wait() == 4
        assert "did not wait for the answer" in "".join(terminal.screen())
    assert locked.counts.attempts == []
    with jtunnel.spawn("up", "a") as terminal:
        terminal.wait_for("'s password: ")
        terminal.type(f"{PASSWORD}\r")
        assert terminal.wait() == 0
