"""Listeners through an outage of OpenSSH's sshd: nobody is refused, who comes waits, who was there is cut."""

from __future__ import annotations

import socket
import time

import pytest

from tests.support.client import Jtunnel
from tests.support.profiles import profile
from tests.support.sshd import Sshd
from tests.support.streams import (
    FAREWELL,
    EchoServer,
    dial,
    dial_unix,
    echoes,
    free_port,
    is_reset,
    is_turned_away,
    listens,
    receive_all,
)

UNTIL_BACK_S = 30.0


def test_an_outage_from_end_to_end(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.check("up", "a")
    established = [dial(port) for _ in range(5)]
    assert all(map(echoes, established))
    box.stop()
    cut_at = time.monotonic()
    for stream in established:
        with stream:
            assert is_reset(stream)
    assert time.monotonic() - cut_at < 2
    waiting = [dial(port) for _ in range(20)]
    for number, stream in enumerate(waiting):
        stream.sendall(f"word {number}".encode())
    tunnel = jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["held"] == 20)
    assert tunnel["state"] == "retrying"
    assert (tunnel["forwards"][0]["listening"], tunnel["forwards"][0]["active"]) == (True, 0)
    assert tunnel["wanted"]
    box.start()
    # Nobody asks for it: it comes back by itself.
    jtunnel.wait_state("a", "up", UNTIL_BACK_S)
    for number, stream in enumerate(waiting):
        with stream:
            stream.shutdown(socket.SHUT_WR)
            assert receive_all(stream) == f"word {number}".encode() + FAREWELL
    tunnel = jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["active"] == 0)
    assert (tunnel["reconnects"], tunnel["forwards"][0]["accepted"]) == (1, 25)
    assert (tunnel["problem"], tunnel["attempt"], tunnel["retry_at"]) == (None, 0, None)


def test_no_connection_is_refused_at_any_moment(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.check("up", "a")
    for outage in (1, 2):
        box.restart()
        # Until it is back, one connection after another: each is accepted.
        while jtunnel.tunnel("a")["reconnects"] < outage or jtunnel.tunnel("a")["state"] != "up":
            assert listens(port)
        with dial(port) as client:
            assert echoes(client)


def test_a_connection_may_come_before_the_first_link(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    box.stop()
    ended = jtunnel.run("up", "a", "--timeout", "0.5")
    assert ended.returncode == 1
    assert "still wanted" in ended.stderr
    with dial(port) as client:
        client.sendall(b"early")
        box.start()
        client.settimeout(UNTIL_BACK_S)
        assert client.recv(5) == b"early"
    assert jtunnel.wait_state("a", "up")["reconnects"] == 0


def test_hold_ends_after_its_seconds_or_at_once(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    none, short = free_port(), free_port()
    jtunnel.write_config(
        profile("none", f"{none}:{echo.target}", hold=0)
        + profile("short", f"{short}:{echo.target}", hold=1.5)
    )
    jtunnel.check("up", "--all")
    with dial(none) as stream:
        assert echoes(stream)
        box.stop()
        assert is_reset(stream)
    jtunnel.wait_state("short", "retrying")
    jtunnel.wait_state("none", "retrying")
    started_at = time.monotonic()
    assert is_turned_away(none)
    assert time.monotonic() - started_at < 0.5
    assert is_turned_away(short)
    assert 1.3 < time.monotonic() - started_at < 4
    assert listens(none)
    assert jtunnel.tunnel("short")["forwards"][0]["held"] == 0
    box.start()
    jtunnel.check("up", "--all")
    for port in (none, short):
        with dial(port) as stream:
            assert echoes(stream)


def test_down_during_an_outage_resets_who_waits(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    path = f"{jtunnel.home.path}/local.sock"
    jtunnel.write_config(
        profile("a", f"{port}:{echo.target}", f'{{ listen = "{path}", target = "{echo.target}" }}')
    )
    jtunnel.check("up", "a")
    box.stop()
    jtunnel.wait_state("a", "retrying")
    with dial(port) as tcp, dial_unix(path) as unix:
        jtunnel.wait_tunnel("a", lambda tunnel: [f["held"] for f in tunnel["forwards"]] == [1, 1])
        jtunnel.check("down", "a")
        assert is_reset(tcp)
        # A Unix socket knows no reset: its end is all that a client sees.
        assert unix.recv(1) == b""
    assert not listens(port)
    with pytest.raises(FileNotFoundError):
        dial_unix(path)
