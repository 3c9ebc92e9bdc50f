"""`status --watch` beside the real daemon: traffic that flows, a daemon that ends and comes back."""

from __future__ import annotations

import time

import pytest

from tests.support.client import PROGRAM, Jtunnel
from tests.support.profiles import profile
from tests.support.screen import Screen
from tests.support.sshd import Sshd
from tests.support.streams import WAIT_S, EchoServer, dial, echoes, free_port


@pytest.mark.long
def test_traffic_and_a_daemon_that_comes_back(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", f"{port}:{echo.target}"))
    jtunnel.check("up", "a")
    with (
        Screen([PROGRAM, "status", "--watch"], jtunnel.env, columns=100, rows=10) as terminal,
        dial(port) as client,
    ):
        terminal.wait_for(f"127.0.0.1:{port}")
        terminal.wait_for("0 B/s in, 0 B/s out")
        give_up_at = time.monotonic() + WAIT_S
        while " MB/s in" not in terminal.picture():
            assert time.monotonic() < give_up_at, terminal.picture()
            assert echoes(client, b"x" * 2_000_000)
            terminal._read(0.0)
        after = len(terminal.shown)
        jtunnel.check("shutdown")
        after = terminal.wait_for("no daemon runs; start it with: jtunnel up", after=after)
        jtunnel.check("up", "a")
        terminal.wait_for(f"127.0.0.1:{port}", after=after)
        terminal.type("q")
        assert terminal.wait() == 0
