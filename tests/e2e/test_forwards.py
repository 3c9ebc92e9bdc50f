"""Plain forwards through OpenSSH's sshd: bytes, ends, sockets of either kind, and what `status` says."""

from __future__ import annotations

import os
import re
import secrets
import socket
import stat

import psutil
import pytest

from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.profiles import profile
from tests.support.sshd import Sshd
from tests.support.streams import (
    FAREWELL,
    WAIT_S,
    EchoServer,
    dial,
    dial_unix,
    echoes,
    free_port,
    has_ipv6,
    is_turned_away,
    listens,
    receive,
    receive_all,
)

UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def test_bytes_go_both_ways_and_are_counted(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port, data = free_port(), secrets.token_bytes(3_000_000)
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    assert jtunnel.check("up", "a") == f"a  up  127.0.0.1:{port}\n"
    with dial(port) as client:
        assert echoes(client, data)
        assert jtunnel.tunnel("a")["forwards"][0]["active"] == 1
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == FAREWELL
    tunnel = jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["active"] == 0)
    forward = tunnel["forwards"][0]
    assert (forward["accepted"], forward["held"]) == (1, 0)
    assert forward["bytes_out"] == len(data)
    assert forward["bytes_in"] == len(data) + len(FAREWELL)


def test_the_far_side_may_fall_silent_first(jtunnel: Jtunnel, box: Sshd) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as target:
        target.settimeout(WAIT_S)
        jtunnel.write_config(profile("a", f"{port}:127.0.0.1:{target.getsockname()[1]}"))
        jtunnel.check("up", "a")
        # The first connection is jtunnel's own try.
        target.accept()[0].close()
        with dial(port) as client:
            far, _ = target.accept()
            with far:
                far.settimeout(WAIT_S)
                far.sendall(b"over")
                far.shutdown(socket.SHUT_WR)
                assert receive_all(client) == b"over"
                client.sendall(b"and out")
                assert receive(far, 7) == b"and out"
                client.shutdown(socket.SHUT_WR)
                assert receive_all(far) == b""


@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_slow_reader_costs_no_memory(jtunnel: Jtunnel, box: Sshd, direction: str) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as target:
        target.settimeout(WAIT_S)
        jtunnel.write_config(profile("a", f"{port}:127.0.0.1:{target.getsockname()[1]}"))
        jtunnel.check("up", "a")
        target.accept()[0].close()
        daemon = psutil.Process(jtunnel.daemon_pid())
        before = daemon.memory_info().rss
        with dial(port) as client, target.accept()[0] as far:
            source, reader = (far, client) if direction == "down" else (client, far)
            source.settimeout(1.0)
            sent, block = 0, secrets.token_bytes(1_000_003)
            with pytest.raises(TimeoutError):
                while sent < 500_000_000:
                    sent += source.send(block[sent % len(block) :])
            assert daemon.memory_info().rss - before < 20_000_000
            # All that was taken arrives, as it was.
            reader.settimeout(WAIT_S)
            received = receive(reader, sent)
            assert received == (block * (sent // len(block) + 1))[:sent]


def test_unix_sockets_on_either_side(jtunnel: Jtunnel, box: Sshd, account: Account, home: Home) -> None:
    port, local = free_port(), os.path.join(home.path, "local.sock")
    remote = account.path("remote.sock")
    with EchoServer(path=remote) as far, EchoServer() as echo:
        jtunnel.write_config(
            profile("a", f"{port}:{far.target}", f'{{ listen = "~/local.sock", target = "{echo.target}" }}')
        )
        jtunnel.check("up", "a")
        with dial(port) as client:
            assert echoes(client)
        assert stat.S_IMODE(os.stat(local).st_mode) == 0o600
        with dial_unix(local) as client:
            assert echoes(client)
            client.shutdown(socket.SHUT_WR)
            assert receive_all(client) == FAREWELL
        to_unix, from_unix = jtunnel.tunnel("a")["forwards"]
        assert (to_unix["listen"], to_unix["target"]) == (f"127.0.0.1:{port}", f"unix:{remote}")
        assert (from_unix["listen"], from_unix["target"]) == (f"unix:{local}", echo.target)
        jtunnel.check("down", "a")
        assert not os.path.exists(local)
        assert not listens(port)


def test_loopback_and_nothing_else_listens(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port, only4 = free_port(), free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}", f"127.0.0.1:{only4}:{echo.target}"))
    jtunnel.check("up", "a")
    for host in ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",):
        with dial(port, host) as client:
            assert echoes(client)
    assert not has_ipv6() or not listens(only4, "::1")
    # All of 127.0.0.0/8 is this machine, on Linux: a stand-in for its other addresses.
    assert not listens(port, "127.0.0.2")


def test_status_has_the_fields_of_the_contract(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer, account: Account
) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}", tags=["work"]) + profile("idle"))
    jtunnel.check("up", "a")
    jtunnel.wait_tunnel("a", lambda tunnel: tunnel["latency_ms"] is not None)
    document = jtunnel.status()
    assert set(document) == {"schema", "daemon", "tunnels"}
    assert document["schema"] == 1
    daemon = document["daemon"]
    assert set(daemon) == {
        "version",
        "pid",
        "started_at",
        "config_path",
        "config_problem",
        "started_by",
    }
    assert UTC_TIME.fullmatch(daemon["started_at"])
    assert daemon["config_path"] == jtunnel.home.config_file
    assert daemon["pid"] == jtunnel.daemon_pid()
    up, idle = document["tunnels"]
    latency_ms = up.pop("latency_ms")  # type: ignore[misc]
    assert isinstance(latency_ms, float)
    assert 0 < latency_ms < 10_000
    assert UTC_TIME.fullmatch(up.pop("since"))  # type: ignore[misc]
    assert up == {
        "name": "a",
        "state": "up",
        "wanted": True,
        "autostart": False,
        "tags": ["work"],
        "alias": "box",
        "host": "127.0.0.1",
        "user": account.name,
        "port": box.port,
        "via": [],
        "attempt": 0,
        "retry_at": None,
        "reconnects": 0,
        "problem": None,
        "jupyter": None,
        "service": None,
        "forwards": [
            {
                "name": str(port),
                "kind": "local",
                "listen": f"127.0.0.1:{port}",
                "target": echo.target,
                "listening": True,
                "temporary": False,
                "active": 0,
                "held": 0,
                "accepted": 0,
                "bytes_in": 0,
                "bytes_out": 0,
                "problem": None,
            }
        ],
    }
    assert set(idle) == {*up, "latency_ms", "since"}
    assert (idle["state"], idle["wanted"], idle["alias"]) == ("down", False, "box")
    assert (idle["host"], idle["latency_ms"]) == (None, None)


def test_a_target_that_is_not_there_yet(jtunnel: Jtunnel, box: Sshd) -> None:
    port, missing = free_port(), free_port()
    jtunnel.write_config(profile("a", f"{port}:127.0.0.1:{missing}"))
    ended = jtunnel.run("up", "a")
    assert ended.returncode == 0
    assert f"nobody listens on 127.0.0.1:{missing}" in ended.stderr
    tunnel = jtunnel.tunnel("a")
    assert (tunnel["state"], tunnel["problem"]) == ("up", None)
    problem = tunnel["forwards"][0]["problem"]
    assert problem is not None
    assert problem["kind"] == "target-refused"
    assert is_turned_away(port)
    with EchoServer(port=missing), dial(port) as client:
        assert echoes(client)
        assert jtunnel.tunnel("a")["forwards"][0]["problem"] is None


def test_targets_that_cannot_be_there(jtunnel: Jtunnel, box: Sshd, account: Account) -> None:
    missing = account.path("missing.sock")
    jtunnel.write_config(profile("a", f"{free_port()}:{missing}", f"{free_port()}:no-such-host.invalid:80"))
    ended = jtunnel.run("up", "a")
    assert ended.returncode == 0
    assert f"the remote socket {missing} cannot be opened" in ended.stderr
    for forward in jtunnel.tunnel("a")["forwards"]:
        assert forward["problem"] is not None
        assert forward["problem"]["kind"] == "target-refused"
        assert forward["problem"]["advice"]


def test_a_server_that_forbids_forwarding(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    box.restart(options={"AllowTcpForwarding": "no"})
    ended = jtunnel.run("up", "a")
    assert ended.returncode == 4
    assert "AllowTcpForwarding" in ended.stderr
    assert jtunnel.blocked_by("a") == "forward-refused"
    assert jtunnel.run("status", "a").returncode == 4
    assert is_turned_away(port)
    box.restart(options={"AllowTcpForwarding": "yes"})
    jtunnel.check("up", "a")
    with dial(port) as client:
        assert echoes(client)


def test_a_busy_port_names_who_has_it(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    good, busy, third = free_port(), free_port(), free_port()
    jtunnel.write_config(
        profile("good", f"{good}:{echo.target}")
        + profile("bad", f"{busy}:{echo.target}", f"{third}:{echo.target}")
    )
    jtunnel.check("up", "good")
    with dial(good) as stream:
        with socket.create_server(("127.0.0.1", busy)):
            ended = jtunnel.run("up", "bad")
            assert ended.returncode == 4
            assert f"port {busy} on 127.0.0.1 is taken by " in ended.stderr
            assert f"(pid {os.getpid()})" in ended.stderr
            assert jtunnel.blocked_by("bad") == "port-in-use"
            forwards = jtunnel.tunnel("bad")["forwards"]
            assert [forward["listening"] for forward in forwards] == [False, True]
            assert jtunnel.tunnel("good")["state"] == "up"
        jtunnel.check("up", "bad")
        with dial(busy) as client:
            assert echoes(client)
        assert echoes(stream)
