"""Tunnels that connect at the first use and rest when nobody uses them: from the start of the daemon on."""

from __future__ import annotations

import os
import random
import threading
import time

import pytest

from tests.support.client import Jtunnel
from tests.support.profiles import profile
from tests.support.ssh_server import FaultyServer
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, dial_unix, echoes, free_port, is_turned_away, listens

#: Long enough for a test's own steps, short enough to wait for.
IDLE_S = 1.0


def on_demand(name: str, *forwards: str, share: bool = True, hold: float = 300) -> str:
    return profile(name, *forwards, autostart="on-demand", idle_timeout=IDLE_S, share=share, hold=hold)


def test_it_listens_from_the_start_connects_at_the_first_use_and_rests_again(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer
) -> None:
    port = free_port()
    jtunnel.write_config(on_demand("a", f"{port}:{echo.target}"))
    jtunnel.start_daemon()
    resting = jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["listening"])
    assert (resting["state"], resting["wanted"], resting["problem"]) == ("down", False, None)
    assert faulty.open_connections == 0
    for times in (1, 2):
        with dial(port) as client:
            assert echoes(client)
            used = jtunnel.wait_state("a", "up")
            assert used["wanted"]
            assert used["reconnects"] == 0
            assert faulty.open_connections == 1
        resting = jtunnel.wait_state("a", "down")
        assert resting["forwards"][0]["listening"]
        assert resting["forwards"][0]["accepted"] == times
        faulty.wait_open(0)
    assert "not used for 1 s" in jtunnel.check("logs", "a")


def test_it_stays_while_somebody_is_connected(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port, other = free_port(), free_port()
    jtunnel.write_config(
        on_demand("a", f"{port}:{echo.target}", share=False) + on_demand("b", f"{other}:{echo.target}")
    )
    jtunnel.start_daemon()
    with dial(port) as client:
        assert echoes(client)
        with dial(other) as brief:
            assert echoes(brief)
        # The other's rest comes no sooner than this one's would have.
        jtunnel.wait_state("b", "down")
        assert jtunnel.tunnel("a")["state"] == "up"
        assert echoes(client)


def test_up_connects_it_and_down_closes_its_listener(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config(on_demand("a", f"{port}:{echo.target}"))
    jtunnel.start_daemon()
    jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["listening"])
    assert jtunnel.check("up", "a").startswith("a  up")
    jtunnel.check("down", "a")
    assert not listens(port)
    jtunnel.check("up", "a")
    jtunnel.wait_state("a", "down")
    assert listens(port)


def test_a_unix_socket_and_no_waiting_are_uses_too(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    path, port = os.path.join(jtunnel.home.path, "use.sock"), free_port()
    jtunnel.write_config(
        on_demand("a", f"{path}:{echo.target}") + on_demand("b", f"{port}:{echo.target}", hold=0)
    )
    jtunnel.start_daemon()
    for name in ("a", "b"):
        jtunnel.wait_tunnel(name, lambda tunnel: tunnel["forwards"][0]["listening"])
    with dial_unix(path) as client:
        assert echoes(client)
    assert is_turned_away(port)
    jtunnel.wait_state("b", "up")


@pytest.mark.long
def test_a_host_that_is_away_is_given_up_when_nobody_waits_any_more(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer
) -> None:
    port = free_port()
    box.stop()
    jtunnel.write_config(on_demand("a", f"{port}:{echo.target}"))
    jtunnel.start_daemon()
    jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["listening"])
    with dial(port):
        lost = jtunnel.wait_state("a", "retrying")
        assert lost["problem"] is not None
        assert lost["problem"]["kind"] == "host-unreachable"
    assert jtunnel.wait_state("a", "down")["forwards"][0]["listening"]


def test_an_edit_makes_it_listen_at_once_and_another_one_no_more(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer
) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.start_daemon()
    jtunnel.write_config(on_demand("a", f"{port}:{echo.target}"))
    jtunnel.check("reload")
    assert jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["listening"])["state"] == "down"
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.check("reload")
    jtunnel.wait_tunnel("a", lambda tunnel: not tunnel["forwards"][0]["listening"])


@pytest.mark.long
def test_nobody_is_lost_who_comes_as_it_goes_to_rest(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    ports = [free_port() for _ in range(10)]
    jtunnel.write_config(
        "".join(
            on_demand(f"a{number}", f"{port}:{echo.target}", share=bool(number % 2))
            for number, port in enumerate(ports)
        )
    )
    jtunnel.start_daemon()
    jtunnel.wait_tunnel("a9", lambda tunnel: tunnel["forwards"][0]["listening"])
    lost: list[str] = []

    def come_and_go(port: int) -> None:
        chance = random.Random(port)
        for number in range(15):
            try:
                with dial(port) as client:
                    if not echoes(client):
                        lost.append(f"{port}, {number}: ended")
            except OSError as error:
                lost.append(f"{port}, {number}: {error!r}")
            # The moment that matters is the one in which its time is over.
            time.sleep(IDLE_S + (chance.random() - 0.5) * 0.012)

    users = [threading.Thread(target=come_and_go, args=(port,)) for port in ports]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert not lost


@pytest.mark.long
def test_hundreds_cost_next_to_nothing(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    ports = [free_port() for _ in range(300)]
    ports = sorted(set(ports))
    jtunnel.write_config(
        "".join(on_demand(f"t{number}", f"{port}:{echo.target}") for number, port in enumerate(ports))
    )
    jtunnel.start_daemon()
    last = f"t{len(ports) - 1}"
    jtunnel.wait_tunnel(last, lambda tunnel: tunnel["forwards"][0]["listening"])
    with dial(ports[0]) as first, dial(ports[-1]) as other:
        assert echoes(first)
        assert echoes(other)
    states = {tunnel["name"]: tunnel["state"] for tunnel in jtunnel.status()["tunnels"]}
    assert sum(state == "down" for state in states.values()) >= len(ports) - 2
