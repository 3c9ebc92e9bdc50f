"""Commands that meet each other, or traffic, half-way: what was said last counts and nothing hangs."""

from __future__ import annotations

import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.accounts import Account
from tests.support.client import PROGRAM, Jtunnel
from tests.support.home import Home
from tests.support.keys import Key
from tests.support.profiles import profile
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port, listens

ROUNDS = 12
CLIENTS = 6


@pytest.mark.long
def test_down_while_connections_are_being_opened(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    enough = threading.Event()

    def knock() -> None:
        while not enough.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
                    stream.sendall(b"word")
            except OSError:
                continue

    with ThreadPoolExecutor(CLIENTS) as clients:
        try:
            for _ in range(CLIENTS):
                clients.submit(knock)
            for _ in range(ROUNDS):
                jtunnel.check("up", "a")
                jtunnel.check("down", "a", timeout=15)
                assert jtunnel.tunnel("a")["state"] == "down"
        finally:
            enough.set()
    jtunnel.check("up", "a")
    with dial(port) as stream:
        assert echoes(stream)


@pytest.mark.long
def test_up_that_overtakes_down(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    ports = [free_port(), free_port()]
    jtunnel.write_config(profile("a", *(f"{port}:{echo.target}" for port in ports)))
    jtunnel.check("up", "a")
    for _ in range(ROUNDS):
        with subprocess.Popen([PROGRAM, "down", "a"], env=jtunnel.env, stdout=subprocess.DEVNULL) as down:
            # Whichever comes second wins; an `up` that is overtaken says so.
            jtunnel.run("up", "a")
            assert down.wait(15) == 0
        if jtunnel.tunnel("a")["wanted"]:
            jtunnel.wait_state("a", "up")
            assert all(listens(port) for port in ports)
        else:
            assert jtunnel.tunnel("a")["state"] == "down"
            assert not any(listens(port) for port in ports)
    jtunnel.check("up", "a")
    for port in ports:
        with dial(port) as stream:
            assert echoes(stream)


def test_profiles_that_share_part_when_ssh_config_parts_them(
    jtunnel: Jtunnel,
    box: Sshd,
    echo: EchoServer,
    home: Home,
    account: Account,
    host_key: Key,
    client_key: Key,
) -> None:
    for alias in ("first", "second"):
        home.add_host(alias, port=box.port, user=account.name, identity=client_key, host_key=host_key)
    jtunnel.write_config(profile("a", host="first") + profile("b", host="second"))
    jtunnel.check("up", "--all")
    with Sshd(host_key, account, authorized=[client_key]) as other:
        config = f"{home.path}/.ssh/config"
        with open(config) as file:
            text = file.read()
        before, alias, after = text.partition("Host first\n")
        assert alias
        with open(config, "w") as file:
            file.write(before + alias + after.replace(str(box.port), str(other.port), 1))
        home.trust(host_key, port=other.port)
        box.drop_sessions()
        jtunnel.wait_tunnel("a", lambda tunnel: (tunnel["state"], tunnel["port"]) == ("up", other.port))
        jtunnel.wait_tunnel("b", lambda tunnel: (tunnel["state"], tunnel["port"]) == ("up", box.port))
        assert len(other.sessions()) > 0
        assert len(box.sessions()) > 0
        jtunnel.check("down", "--all")
