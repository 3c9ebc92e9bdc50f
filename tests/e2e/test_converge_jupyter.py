"""An edited jupyter table: the other forwards go on, and `up` never stands for a server nobody has asked."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request

import psutil
import pytest

from jtunnel.status import TunnelStatus
from tests.support.laptop import NAME, Laptop
from tests.support.streams import EchoServer, dial, echoes, free_port, listens

pytestmark = pytest.mark.long

#: These tests say when the config is read.
ASKED = "watch_config = false\n"


def write(laptop: Laptop, forward: str, **jupyter: int | str) -> None:
    """The laptop's profile with this forward and, unless there are no keys, this jupyter table."""
    lines = [ASKED, f"[profiles.{NAME}]", 'host = "box"', f"forwards = [{json.dumps(forward)}]"]
    if jupyter:
        lines += [
            f"[profiles.{NAME}.jupyter]",
            *(f"{key} = {json.dumps(value)}" for key, value in jupyter.items()),
        ]
    laptop.jtunnel.write_config("\n".join([*lines, ""]))


def is_ready(tunnel: TunnelStatus) -> bool:
    return tunnel["state"] == "up" and tunnel["jupyter"] is not None and tunnel["jupyter"]["state"] == "ready"


def answers(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=20) as answer:
        return bool(answer.status == 200)


def test_up_means_that_this_server_answers_here(laptop: Laptop, echo: EchoServer) -> None:
    first, second, other = free_port(), free_port(), free_port()
    jtunnel, forward = laptop.jtunnel, f"{other}:{echo.target}"
    write(laptop, forward, local_port=first)
    jtunnel.check("up", NAME, timeout=100)
    false: list[TunnelStatus] = []
    seen = threading.Event()

    def watch() -> None:
        for document in jtunnel.snapshots(100):
            (tunnel,) = document["tunnels"]
            if tunnel["state"] == "up" and tunnel["jupyter"] and not is_ready(tunnel):
                false.append(tunnel)
            if seen.is_set():
                return

    watching = threading.Thread(target=watch)
    watching.start()
    with dial(other) as stream:
        assert echoes(stream)
        write(laptop, forward, local_port=second)
        jtunnel.check("reload")
        jtunnel.wait_tunnel(NAME, is_ready)
        assert answers(second)
        assert not listens(first)
        write(laptop, forward)
        jtunnel.check("reload")
        jtunnel.wait_tunnel(NAME, lambda tunnel: tunnel["state"] == "up" and tunnel["jupyter"] is None)
        assert not listens(second)
        with socket.create_server(("127.0.0.1", second)):
            write(laptop, forward, local_port=second)
            jtunnel.check("reload")
            jtunnel.wait_state(NAME, "blocked")
            assert jtunnel.run("up", NAME, timeout=100).returncode == 4
        jtunnel.check("up", NAME, timeout=100)
        assert answers(second)
        assert echoes(stream)
    seen.set()
    jtunnel.check("stop", NAME, "--force", timeout=100)
    watching.join(100)
    assert not false


def test_a_restart_of_the_connection_starts_no_server(laptop: Laptop) -> None:
    server = laptop.up()
    assert server["pid"] is not None
    psutil.Process(server["pid"]).kill()
    laptop.jtunnel.run("restart", NAME, timeout=100)
    assert laptop.jtunnel.blocked_by(NAME) == "server-gone"
