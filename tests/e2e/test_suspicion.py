"""A connection that does not answer is suspected, not killed: what was there lives on if it answers again."""

from __future__ import annotations

import time

import pytest

from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.keys import Key
from tests.support.profiles import profile
from tests.support.ssh_server import FaultyServer
from tests.support.streams import EchoServer, dial, echoes, free_port, is_reset


def bring_up(jtunnel: Jtunnel, echo: EchoServer) -> int:
    """One tunnel `a` with one forward; its port."""
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.check("up", "a")
    return port


def test_a_pause_that_ends_costs_nothing(jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer) -> None:
    port = bring_up(jtunnel, echo)
    with dial(port) as established:
        assert echoes(established)
        faulty.pause()
        with dial(port) as waiting:
            waiting.sendall(b"word")
            # The channel that does not open is the reason to ask.
            tunnel = jtunnel.wait_state("a", "retrying")
            assert tunnel["problem"]
            assert tunnel["problem"]["kind"] == "connection-lost"
            with dial(port) as held:
                jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["held"] >= 1)
                faulty.resume()
                tunnel = jtunnel.wait_state("a", "up")
                assert tunnel["reconnects"] in (0, 1)
                assert echoes(held)
            assert waiting.recv(4) == b"word"


def test_the_old_connection_answers_first(jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer) -> None:
    port = bring_up(jtunnel, echo)
    with dial(port) as established, dial(port) as waiting:
        assert echoes(established)
        assert echoes(waiting)
        # Only what is there is paused, and whoever comes waits for the login for ever.
        faulty.stop_at = "banner"
        faulty.pause_existing()
        with dial(port) as held:
            held.sendall(b"word")
            jtunnel.wait_state("a", "retrying")
            faulty.wait_for(lambda counts: counts.connections >= 2)
            faulty.resume()
            assert jtunnel.wait_state("a", "up")["reconnects"] == 0
            assert held.recv(4) == b"word"
        assert echoes(established)
        assert echoes(waiting)
    assert "no open connection reset" in jtunnel.check("logs", "a")


@pytest.mark.long
def test_a_half_open_connection_is_replaced(jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer) -> None:
    port = bring_up(jtunnel, echo)
    with dial(port) as established:
        assert echoes(established)
        faulty.pause_existing()
        began_at = time.monotonic()
        with dial(port) as held:
            held.sendall(b"word")
            held.settimeout(10)
            assert held.recv(4) == b"word"
        assert time.monotonic() - began_at < 6
        tunnel = jtunnel.wait_state("a", "up")
        assert tunnel["reconnects"] == 1
        # The old one had its time to answer.
        established.settimeout(20)
        assert is_reset(established)


def test_the_replaced_connection_may_still_answer(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer
) -> None:
    port = bring_up(jtunnel, echo)
    with dial(port) as established:
        assert echoes(established)
        faulty.pause_existing()
        with dial(port) as held:
            held.sendall(b"word")
            assert held.recv(4) == b"word"
        faulty.resume()
        assert jtunnel.wait_state("a", "up")["reconnects"] == 1
        for _ in range(3):
            assert echoes(established)
        assert faulty.open_connections == 2
    jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["active"] == 0)
    # Its last stream has ended: it is closed.
    deadline = time.monotonic() + 10
    while faulty.open_connections > 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.long
def test_who_watches_sees_it_at_once(jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer) -> None:
    bring_up(jtunnel, echo)
    late = []
    for _ in range(3):
        snapshots = jtunnel.snapshots(30)
        assert next(snapshots)["tunnels"][0]["state"] == "up"
        # Away for a while, or it is back before anybody can see that it was away.
        faulty.close_after = "connect"
        began_at = time.monotonic()
        faulty.drop_all()
        while next(snapshots)["tunnels"][0]["state"] == "up":
            pass
        late.append(time.monotonic() - began_at)
        faulty.close_after = None
        while next(snapshots)["tunnels"][0]["state"] != "up":
            pass
        snapshots.close()
    print(f"seen after {', '.join(f'{seconds * 1000:.0f} ms' for seconds in late)}")
    # The aim is 100 ms; the best of three on a busy machine.
    assert min(late) < 0.1


@pytest.mark.long
def test_behind_a_dead_jump_host_both_connections_are_replaced(
    home: Home, jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer, host_key: Key, client_key: Key
) -> None:
    with FaultyServer(host_key, authorized=[client_key]) as inner:
        home.add_host(
            "inner",
            port=inner.port,
            user="me",
            identity=client_key,
            host_key=host_key,
            options={"ProxyJump": "box"},
        )
        port = free_port()
        jtunnel.write_config(profile("a", f"{port}:{echo.target}", host="inner"))
        jtunnel.check("up", "a")
        with dial(port) as established:
            assert echoes(established)
            faulty.pause_existing()
            began_at = time.monotonic()
            with dial(port) as held:
                held.sendall(b"word")
                held.settimeout(15)
                assert held.recv(4) == b"word"
            assert time.monotonic() - began_at < 8
            assert jtunnel.wait_state("a", "up")["reconnects"] == 1
            established.settimeout(20)
            assert is_reset(established)


@pytest.mark.long
def test_without_any_sign_a_dead_connection_is_found_in_20_s(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer
) -> None:
    bring_up(jtunnel, echo)
    faulty.pause_existing()
    began_at = time.monotonic()
    jtunnel.wait_tunnel("a", lambda tunnel: tunnel["reconnects"] == 1, 30)
    assert time.monotonic() - began_at <= 20


@pytest.mark.long
def test_streams_are_reset_after_15_s_of_suspicion(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer
) -> None:
    port = bring_up(jtunnel, echo)
    with dial(port) as established:
        assert echoes(established)
        faulty.pause()
        with dial(port) as held:
            held.sendall(b"word")
            jtunnel.wait_state("a", "retrying")
            began_at = time.monotonic()
            established.settimeout(30)
            assert is_reset(established)
            assert 13 < time.monotonic() - began_at < 18
            assert jtunnel.tunnel("a")["state"] == "retrying"
            faulty.resume()
            held.settimeout(30)
            assert held.recv(4) == b"word"


@pytest.mark.long
def test_a_login_that_asked_a_person_is_never_raced(
    home: Home, jtunnel: Jtunnel, host_key: Key, echo: EchoServer
) -> None:
    with FaultyServer(host_key, password="sesame") as faulty:
        home.add_host("box", port=faulty.port, user="me", identity=None, host_key=host_key)
        port = free_port()
        jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
        with jtunnel.spawn("up", "a") as terminal:
            terminal.wait_for("'s password: ")
            terminal.type("sesame\r")
            assert terminal.wait() == 0
        with dial(port) as established:
            assert echoes(established)
            faulty.pause_existing()
            with dial(port) as held:
                held.sendall(b"word")
                jtunnel.wait_state("a", "retrying")
                # More than the 15 s after which others are given up.
                time.sleep(18)
                assert faulty.counts.connections == 1
                faulty.resume()
                assert held.recv(4) == b"word"
            assert jtunnel.wait_state("a", "up")["reconnects"] == 0
            assert echoes(established)
            faulty.drop_all()
            tunnel = jtunnel.wait_state("a", "blocked")
            assert tunnel["problem"]
            assert tunnel["problem"]["kind"] == "input-required"
            assert faulty.counts.connections == 1
