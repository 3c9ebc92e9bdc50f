"""Changes that come at an awkward moment: a config, a forward or a command while something else ends."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from jtunnel import wire
from jtunnel.status import TunnelStatus
from tests.support.client import Jtunnel
from tests.support.keys import Key
from tests.support.profiles import profile
from tests.support.ssh_server import FaultyServer
from tests.support.sshd import Sshd
from tests.support.streams import WAIT_S, EchoServer, dial, echoes, free_port, is_turned_away, listens

#: These tests say when the config is read.
ASKED = "watch_config = false\n"


def ask_and_leave(jtunnel: Jtunnel, method: str, params: dict[str, Any], until: Callable[[], object]) -> None:
    """Call a method and hang up, without its answer, when `until` has returned."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(WAIT_S)
        control.connect(os.path.join(jtunnel.home.runtime_dir, "control.sock"))
        control.sendall(wire.request(1, method, params))
        until()


def remote(port: int, echo: EchoServer) -> str:
    return f'{{ kind = "remote", listen = "{port}", target = "{echo.target}" }}'


def forwards(tunnel: TunnelStatus) -> int:
    return len(tunnel["forwards"])


@pytest.mark.long
def test_a_reload_while_a_tunnel_goes_down(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port, back, more = free_port(), free_port(), free_port()
    before = ASKED + profile("a", f"{port}:{echo.target}", remote(back, echo))
    jtunnel.write_config(before)
    jtunnel.check("up", "a")
    pid = jtunnel.daemon_pid()
    assert pid is not None
    with box.frozen():
        # The remote port cannot be given back: that takes a moment, in which everything else goes on.
        down = threading.Thread(target=jtunnel.run, args=("down", "a"))
        down.start()
        jtunnel.wait_tunnel("a", lambda tunnel: not tunnel["wanted"])
        jtunnel.write_config(ASKED + profile("a", f"{port}:{echo.target}", remote(back, echo), str(more)))
        os.kill(pid, signal.SIGHUP)
        jtunnel.wait_tunnel("a", lambda tunnel: forwards(tunnel) == 3)
        down.join(WAIT_S)
    assert jtunnel.daemon_pid() == pid
    assert "Traceback" not in jtunnel.log_tail(1000)
    jtunnel.check("up", "a")


def test_a_client_that_leaves_while_forwards_are_taken_away(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer
) -> None:
    port, first, second = free_port(), free_port(), free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.check("up", "a")
    jtunnel.check("forward", "a", f"{first}:{echo.target}")
    jtunnel.check("forward", "a", f"{second}:{echo.target}")
    faulty.hold_channels()
    with dial(first):
        jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][1]["active"] == 1)
        ask_and_leave(
            jtunnel,
            "unforward",
            {"name": "a"},
            lambda: jtunnel.wait_tunnel("a", lambda tunnel: forwards(tunnel) == 1),
        )
        faulty.release_channels()
    # What the client asked for is done to its end, one after another.
    jtunnel.check("forward", "a", f"{first}:{echo.target}")
    jtunnel.check("forward", "a", f"{first}", "--remove")
    assert not listens(first)
    assert not listens(second)


def test_a_remote_forward_that_is_removed_ends_its_streams(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer
) -> None:
    port, back = free_port(), free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}") + profile("b"))
    jtunnel.check("up", "a", "b")
    jtunnel.check("forward", "a", "-R", f"{back}:{echo.target}")
    with dial(back) as stream:
        assert echoes(stream)
        jtunnel.check("forward", "a", str(back), "--remove")
        # The link is shared and lives on; sshd closes in order what was cut on our side.
        assert stream.recv(1) == b""
    assert jtunnel.tunnel("b")["state"] == "up"


@pytest.mark.long
def test_an_on_demand_tunnel_is_used_also_from_over_there(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer
) -> None:
    port, other, back = free_port(), free_port(), free_port()
    jtunnel.write_config(
        profile("a", f"{port}:{echo.target}", remote(back, echo), autostart="on-demand", idle_timeout=1)
        + profile("b", f"{other}:{echo.target}", autostart="on-demand", idle_timeout=2)
    )
    jtunnel.check("up", "a")
    with dial(back) as stream:
        assert echoes(stream)
        # Longer than it takes the other to rest again.
        jtunnel.check("up", "b")
        jtunnel.wait_state("b", "down")
        assert jtunnel.tunnel("a")["state"] == "up"
        assert echoes(stream)
    jtunnel.wait_state("a", "down")


@pytest.mark.long
def test_a_person_who_is_asked_has_time(jtunnel: Jtunnel, host_key: Key, echo: EchoServer) -> None:
    port, other = free_port(), free_port()
    with FaultyServer(host_key, password="secret") as faulty:
        for alias in ("box", "other"):
            jtunnel.home.add_host(alias, port=faulty.port, user="me", identity=None, host_key=host_key)
        jtunnel.write_config(
            profile("a", f"{port}:{echo.target}", autostart="on-demand", idle_timeout=1)
            + profile(
                "b", f"{other}:{echo.target}", host="nowhere.invalid", autostart="on-demand", idle_timeout=2
            )
        )
        with jtunnel.spawn("up", "a") as terminal:
            terminal.wait_for("assword")
            jtunnel.check("up", "--no-wait", "b")
            jtunnel.wait_state("b", "down")
            terminal.type("secret\n")
            terminal.wait_for("a  up")


def test_on_demand_becomes_automatic(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config(ASKED + profile("a", f"{port}:{echo.target}", autostart="on-demand"))
    jtunnel.start_daemon()
    jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["listening"])
    with dial(port) as waiting:
        jtunnel.write_config(ASKED + profile("a", f"{port}:{echo.target}", autostart=True))
        jtunnel.check("reload")
        assert echoes(waiting)
    assert jtunnel.wait_state("a", "up")["wanted"]


def test_on_demand_and_more_is_taken_back(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config(ASKED + profile("a", f"{port}:{echo.target}", autostart="on-demand"))
    jtunnel.start_daemon()
    jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["listening"])
    jtunnel.write_config(ASKED + profile("a", f"{port}:{echo.target}", hold=10))
    jtunnel.check("reload")
    tunnel = jtunnel.wait_tunnel("a", lambda tunnel: not tunnel["forwards"][0]["listening"])
    assert (tunnel["state"], tunnel["wanted"]) == ("down", False)
    assert not box.sessions()


def test_the_config_takes_over_a_forward_by_another_name(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer
) -> None:
    port, more = free_port(), free_port()
    jtunnel.write_config(ASKED + profile("a", f"{port}:{echo.target}"))
    jtunnel.check("up", "a")
    jtunnel.check("forward", "a", f"{more}:{echo.target}")
    named = f'{{ name = "tb", listen = "{more}", target = "{echo.target}" }}'
    jtunnel.write_config(ASKED + profile("a", f"{port}:{echo.target}", named))
    jtunnel.check("reload")
    with dial(more) as client:
        assert echoes(client)
    tunnel = jtunnel.tunnel("a")
    assert [forward["name"] for forward in tunnel["forwards"]] == [str(port), "tb"]
    assert tunnel["state"] == "up"


@pytest.mark.long
def test_up_while_an_on_demand_tunnel_goes_down(
    jtunnel: Jtunnel, faulty: FaultyServer, echo: EchoServer
) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}", autostart="on-demand"))
    jtunnel.check("up", "a")
    faulty.hold_channels()
    with dial(port):
        jtunnel.wait_tunnel("a", lambda tunnel: bool(tunnel["forwards"][0]["active"]))
        # The channel that does not open keeps the end waiting for a moment.
        down = threading.Thread(target=jtunnel.run, args=("down", "a"))
        down.start()
        jtunnel.wait_tunnel("a", lambda tunnel: not tunnel["wanted"])
        jtunnel.check("up", "--no-wait", "a")
        faulty.release_channels()
        down.join(WAIT_S)
    jtunnel.wait_state("a", "up")


def test_uses_are_noticed_also_after_a_busier_forward_is_gone(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer
) -> None:
    busy, other = free_port(), free_port()

    def write(*ports: int) -> None:
        forwards = [f"{port}:{echo.target}" for port in ports]
        jtunnel.write_config(ASKED + profile("a", *forwards, autostart="on-demand", hold=0, idle_timeout=0.5))

    write(busy, other)
    jtunnel.start_daemon()
    jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["listening"])
    for _ in range(3):
        # Without holding, the first use is reset; it is one all the same.
        is_turned_away(busy)
    jtunnel.wait_state("a", "up")
    jtunnel.wait_state("a", "down")
    write(other)
    jtunnel.check("reload")
    is_turned_away(other)
    jtunnel.wait_state("a", "up")


def test_a_forward_by_hand_that_fails_is_no_outage(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.check("up", "a")
    since = jtunnel.tunnel("a")["since"]
    taken = f"{echo.port}:{echo.target}"
    ended = jtunnel.run("forward", "a", taken)
    assert ended.returncode == 4
    assert f"port {echo.port} on 127.0.0.1 is taken by" in ended.stderr
    jtunnel.check("forward", "a", "-R", f"{free_port()}:{echo.target}")
    jtunnel.check("forward", "a", "-D", str(free_port()))
    tunnel = jtunnel.tunnel("a")
    assert (tunnel["state"], tunnel["since"]) == ("up", since)
    assert len(tunnel["forwards"]) == 3


def test_a_forward_to_itself_is_tried_without_end_to_it(jtunnel: Jtunnel, box: Sshd) -> None:
    port = free_port()
    # The remote host is this machine, and the port the same on both sides.
    jtunnel.write_config(profile("a", str(port)))
    jtunnel.check("up", "a")
    assert jtunnel.tunnel("a")["forwards"][0]["accepted"] <= 2
