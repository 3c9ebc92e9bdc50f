"""Commands at awkward moments: while a tunnel connects, asks a person, waits for its try or is blocked."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import asyncssh
import psutil
import pytest

from jtunnel import wire
from tests.support.client import PROGRAM, Jtunnel
from tests.support.keys import Key
from tests.support.profiles import profile
from tests.support.ssh_server import FaultyServer
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port, is_turned_away, listens

TIMEOUT_S = 20


def start(jtunnel: Jtunnel, *words: str) -> subprocess.Popen[str]:
    """Run a command beside the test, without a terminal."""
    return subprocess.Popen(
        [PROGRAM, *words],
        env=jtunnel.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_down_and_up_again_and_again(jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.check("up", "a")
    daemon = psutil.Process(jtunnel.daemon_pid())
    for _ in range(5):
        with dial(port) as client:
            assert echoes(client)
        jtunnel.check("down", "a")
        # It answers when the listeners are closed: the port is anybody's.
        socket.create_server(("127.0.0.1", port)).close()
        jtunnel.check("up", "--no-wait", "a")
        jtunnel.check("down", "a")
        jtunnel.check("up", "a")
    with dial(port) as client:
        assert echoes(client)
    assert faulty.open_connections == 1
    assert jtunnel.tunnel("a")["forwards"][0]["accepted"] >= 6
    assert daemon.num_fds() < 40


def test_down_while_the_holder_of_a_port_is_looked_for(jtunnel: Jtunnel, box: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder, socket.socket(socket.AF_UNIX) as control:
        jtunnel.write_config(profile("a", f"{holder.getsockname()[1]}:127.0.0.1:9") + profile("b"))
        jtunnel.check("up", "b")
        control.settimeout(TIMEOUT_S)
        control.connect(os.path.join(jtunnel.home.runtime_dir, "control.sock"))
        answers = control.makefile("rb")
        for number in range(6):
            # One right after the other, which two commands would be too slow for.
            control.sendall(wire.request(number, ("up", "down")[number % 2], {"names": ["a"]}))
            assert wire.decode(answers.readline())["result"] == {"names": ["a"]}
        answers.close()
    assert jtunnel.tunnel("a")["state"] == "down"
    jtunnel.check("up", "a")


def test_down_while_a_mute_server_is_dialled(jtunnel: Jtunnel, faulty: FaultyServer) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:127.0.0.1:9"))
    faulty.stop_at = "kex"
    waiting = start(jtunnel, "up", "a")
    faulty.wait_for(lambda counts: counts.connections == 1)
    assert listens(port)
    jtunnel.check("down", "a", timeout=5)
    _, err = waiting.communicate(timeout=TIMEOUT_S)
    assert waiting.returncode == 1
    assert "a: taken down while it came up; " in err
    assert not listens(port)
    assert jtunnel.tunnel("a")["state"] == "down"


def test_down_while_a_person_is_asked(jtunnel: Jtunnel, faulty: FaultyServer) -> None:
    faulty.authorized = []
    faulty.password = "secret-enough"
    jtunnel.write_config(profile("a"))
    with jtunnel.spawn("up", "a") as terminal:
        asked = terminal.wait_for("'s password: ")
        jtunnel.check("down", "a", timeout=5)
        assert jtunnel.tunnel("a")["state"] == "down"
        # The question still stands in the terminal; its answer goes nowhere.
        terminal.type("secret-enough\r")
        assert terminal.wait() == 1
        assert "taken down while it came up" in terminal.shown[asked:]
    assert faulty.counts.attempts == []


def test_down_and_restart_of_what_is_blocked(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer, client_key: Key
) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    faulty.authorized = []
    faulty.password = "nobody-knows-it"
    for _ in range(2):
        assert jtunnel.run("up", "a").returncode == 4
        jtunnel.check("down", "a", timeout=5)
    assert jtunnel.run("up", "a").returncode == 4
    connections = faulty.counts.connections
    assert jtunnel.run("restart", "a").returncode == 4
    assert faulty.counts.connections == connections + 1
    faulty.authorized = [client_key]
    jtunnel.check("restart", "a")
    with dial(port) as client:
        assert echoes(client)


@pytest.mark.long
def test_up_does_not_wait_for_the_next_try(jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer) -> None:
    jtunnel.write_config(profile("a"))
    faulty.close_after = "connect"
    jtunnel.check("up", "--no-wait", "a")
    # By now the next try is seconds away.
    jtunnel.wait_tunnel("a", lambda tunnel: tunnel["attempt"] >= 4 and tunnel["retry_at"] is not None)
    faulty.close_after = None
    jtunnel.check("up", "a", timeout=2)


def test_a_link_that_is_lost_while_targets_are_tried(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer
) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    faulty.hold_channels()
    jtunnel.check("up", "--no-wait", "a")
    faulty.wait_for(lambda counts: len(counts.channels) == 1)
    # The link is there, and yet nothing is proven.
    assert jtunnel.tunnel("a")["state"] in ("connecting", "starting")
    with dial(port) as client:
        faulty.drop_all()
        faulty.wait_for(lambda counts: counts.logins == 2)
        faulty.release_channels()
        jtunnel.wait_state("a", "up")
        assert echoes(client)


def test_one_blocked_tunnel_on_a_shared_link(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    allowed, forbidden = free_port(), free_port()
    box.restart(options={"PermitOpen": echo.target})
    jtunnel.write_config(
        profile("good", f"{allowed}:{echo.target}") + profile("bad", f"{forbidden}:127.0.0.1:{free_port()}")
    )
    ended = jtunnel.run("up", "--all")
    assert ended.returncode == 4
    assert ended.stdout == f"good  up  127.0.0.1:{allowed}\n"
    assert jtunnel.blocked_by("bad") == "forward-refused"
    assert is_turned_away(forbidden)
    with dial(allowed) as client:
        assert echoes(client)
        # What is blocked stays so when the link comes back; what is not comes back with it.
        box.restart()
        jtunnel.wait_tunnel("good", lambda tunnel: (tunnel["state"], tunnel["reconnects"]) == ("up", 1))
    assert jtunnel.blocked_by("bad") == "forward-refused"
    with dial(allowed) as client:
        assert echoes(client)


def test_shutdown_while_an_up_waits(jtunnel: Jtunnel, faulty: FaultyServer) -> None:
    faulty.stop_at = "banner"
    jtunnel.write_config(profile("a"))
    waiting = start(jtunnel, "up", "a")
    faulty.wait_for(lambda counts: counts.connections == 1)
    jtunnel.check("shutdown", timeout=6)
    _, err = waiting.communicate(timeout=TIMEOUT_S)
    assert waiting.returncode == 3
    assert err.endswith("jtunnel: the daemon has ended; start it with: jtunnel up\n")


def test_an_up_that_is_killed_or_interrupted_leaves_the_tunnel_wanted(
    jtunnel: Jtunnel, faulty: FaultyServer
) -> None:
    faulty.stop_at = "banner"
    jtunnel.write_config(profile("a"))
    waiting = start(jtunnel, "up", "a")
    faulty.wait_for(lambda counts: counts.connections == 1)
    waiting.kill()
    waiting.communicate(timeout=TIMEOUT_S)
    assert jtunnel.tunnel("a")["wanted"]
    with jtunnel.spawn("up", "a") as terminal:
        terminal.wait_for("connecting to box")
        terminal.type("\x03")
        assert terminal.wait() == 130
        assert "still wanted" in terminal.shown
    faulty.stop_at = None
    faulty.drop_all()
    jtunnel.wait_state("a", "up")


def test_a_status_that_watches(jtunnel: Jtunnel, faulty: FaultyServer) -> None:
    jtunnel.write_config(profile("a"))
    jtunnel.check("up", "a")
    watching = start(jtunnel, "status", "--watch", "--json")
    assert watching.stdout is not None
    assert '"state":"up"' in watching.stdout.readline()
    faulty.drop_all()
    while '"reconnects":1' not in (line := watching.stdout.readline()):
        assert line.startswith('{"schema":1,')
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=TIMEOUT_S)
    assert watching.returncode == 0


def test_a_server_that_refuses_one_channel_among_many(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer
) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    faulty.refuse_channels = asyncssh.OPEN_RESOURCE_SHORTAGE
    jtunnel.check("up", "a")
    problem = jtunnel.tunnel("a")["forwards"][0]["problem"]
    assert problem is not None
    assert problem["kind"] == "target-refused"
