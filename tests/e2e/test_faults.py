"""SSH servers that fall mute, refuse, or die at an exact place: what a tunnel makes of each."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import asyncssh
import psutil
import pytest

from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.keys import Key
from tests.support.processes import await_end
from tests.support.profiles import profile
from tests.support.ssh_server import FaultyServer, Stop
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port, is_turned_away

PASSWORD = "hunter2-and-more"
#: How soon each stage's ten seconds show, the daemon's start and a busy machine allowed for.
STAGE_S = 13.0


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port that answers no SYN: on Linux, that of a listener whose queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.long
def test_no_mute_server_hangs_anything(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer, home: Home, host_key: Key, client_key: Key
) -> None:
    # All at once, since each takes ten seconds.
    stops: tuple[Stop, ...] = ("connect", "banner", "kex", "auth")
    expected = {
        "connect": "(key exchange)",
        "banner": "(key exchange)",
        "kex": "(key exchange)",
        "auth": "(login)",
        "deaf": "(connecting)",
        "proxy": "",
        "jumped": "jump host mute-connect: ",
    }
    port = free_port()
    with ExitStack() as stack:
        for stop in stops:
            mute = stack.enter_context(FaultyServer(host_key, authorized=[client_key]))
            mute.stop_at = stop
            home.add_host(f"mute-{stop}", port=mute.port, user="me", identity=client_key, host_key=host_key)
        home.add_host(
            "mute-proxy",
            port=1,
            user="me",
            identity=client_key,
            host_key=None,
            options={"ProxyCommand": "sleep 600"},
        )
        asking = stack.enter_context(FaultyServer(host_key, password=PASSWORD))
        home.add_host("asking", port=asking.port, user="me", identity=None, host_key=host_key)
        home.add_host(
            "mute-deaf",
            port=stack.enter_context(deaf_port()),
            user="me",
            identity=client_key,
            host_key=None,
        )
        home.add_host(
            "mute-jumped",
            port=faulty.port,
            user="me",
            identity=client_key,
            host_key=None,
            options={"ProxyJump": "mute-connect"},
        )
        jtunnel.write_config(
            profile("good", f"{port}:{echo.target}")
            + profile("person", host="asking")
            + "".join(profile(name, host=f"mute-{name}") for name in expected)
        )
        jtunnel.check("up", "good")
        client = stack.enter_context(dial(port))
        started_at = time.monotonic()
        jtunnel.check("up", "--no-wait", *expected)
        person = stack.enter_context(jtunnel.spawn("up", "person"))
        person.wait_for("password: ")
        (proxy,) = psutil.Process(jtunnel.daemon_pid()).children()
        for name, words in expected.items():
            tunnel = jtunnel.wait_state(name, "retrying", STAGE_S)
            assert tunnel["problem"] is not None
            assert tunnel["problem"]["kind"] == "host-unreachable"
            assert words in tunnel["problem"]["message"]
            assert "did not answer within 10 s" in tunnel["problem"]["message"]
        assert time.monotonic() - started_at < STAGE_S
        assert await_end([proxy], 1.0) == []
        assert echoes(client)
        # The person thinks for longer than a stage may take, and is not cut off.
        person.type(f"{PASSWORD}\r")
        assert person.wait() == 0
        jtunnel.check("down", "--all")


def test_a_server_without_sessions_serves_plain_forwards(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer
) -> None:
    faulty.refuse_sessions = asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.check("up", "a")
    faulty.wait_for(lambda counts: counts.sessions == 1)
    with dial(port) as client:
        assert echoes(client)
    assert jtunnel.tunnel("a")["state"] == "up"
    assert faulty.counts.connections == 1


@pytest.mark.long
def test_a_server_that_closes_after_accept_or_login(jtunnel: Jtunnel, faulty: FaultyServer) -> None:
    jtunnel.write_config(profile("a"))
    faulty.close_after = "connect"
    ended = jtunnel.run("up", "a", "--timeout", "1")
    assert ended.returncode == 1
    assert "closed the connection before the login" in ended.stderr
    tunnel = jtunnel.tunnel("a")
    assert tunnel["state"] == "retrying"
    assert tunnel["problem"] is not None
    assert tunnel["problem"]["kind"] == "host-unreachable"
    assert tunnel["attempt"] >= 1
    faulty.close_after = "auth"
    tunnel = jtunnel.wait_tunnel(
        "a", lambda tunnel: bool(tunnel["problem"] and tunnel["problem"]["kind"] == "connection-lost")
    )
    assert tunnel["state"] == "retrying"
    # Such a server is not hammered.
    assert faulty.counts.connections < 12
    faulty.close_after = None
    jtunnel.wait_state("a", "up")


def test_a_channel_that_fails_is_the_forwards_problem(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer
) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.check("up", "a")
    with dial(port) as stream:
        assert echoes(stream)
        faulty.refuse_channels = asyncssh.OPEN_CONNECT_FAILED
        assert is_turned_away(port)
        tunnel = jtunnel.tunnel("a")
        assert tunnel["state"] == "up"
        problem = tunnel["forwards"][0]["problem"]
        assert problem is not None
        assert problem["kind"] == "target-refused"
        faulty.refuse_channels = None
        with dial(port) as client:
            assert echoes(client)
        assert jtunnel.tunnel("a")["forwards"][0]["problem"] is None
        assert echoes(stream)


def test_clients_that_leave_while_their_channel_opens_leak_nothing(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer
) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.check("up", "a")
    before = len(faulty.counts.channels)
    faulty.hold_channels()
    clients = [dial(port) for _ in range(20)]
    faulty.wait_for(lambda counts: len(counts.channels) == before + 20)
    for client in clients:
        client.close()
    faulty.release_channels()
    tunnel = jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["active"] == 0)
    assert tunnel["forwards"][0]["accepted"] == 20
    with dial(port) as client:
        assert echoes(client)
        # The server is of this process: the channels that it still has open are its connections there.
        targets = [entry.raddr[1:] for entry in psutil.Process().net_connections("tcp")]
        assert targets.count((echo.port,)) == 1


@pytest.mark.long
def test_a_frozen_server_is_suspected_and_what_was_there_lives_on(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer
) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}", keepalive_interval=1, keepalive_count=2))
    jtunnel.check("up", "a")
    with dial(port) as client:
        assert echoes(client)
        with box.frozen():
            frozen_at = time.monotonic()
            tunnel = jtunnel.wait_state("a", "retrying", 10)
            assert time.monotonic() - frozen_at < 5
            assert tunnel["problem"] is not None
            assert tunnel["problem"]["kind"] == "connection-lost"
            assert "has not answered for 2 s" in tunnel["problem"]["message"]
            late = dial(port)
            jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["held"] == 1)
        with late:
            assert echoes(late)
        assert echoes(client)
    jtunnel.wait_state("a", "up")
