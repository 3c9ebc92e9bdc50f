"""What the service manager hears: signs of life from a loop that turns, none from a frozen one, and news."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jtunnel.client import login_service
from jtunnel.daemon import notify
from jtunnel.daemon.board import Board
from jtunnel.daemon.watchdog import keep_watchdog, sign_interval_s
from tests.support.scripted_daemon import tunnel

TIMEOUT_S = 10


class Manager:
    """The manager's end of `$NOTIFY_SOCKET`."""

    def __init__(self, path: Path) -> None:
        self.environ = {"NOTIFY_SOCKET": str(path)}
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.bind(str(path))
        self._notices.setblocking(False)

    async def next(self) -> str:
        """The next message."""
        async with asyncio.timeout(TIMEOUT_S):
            return (await asyncio.get_running_loop().sock_recv(self._notices, 4096)).decode()

    def waiting(self) -> int:
        """How many messages have come and were not read."""
        count = 0
        while True:
            try:
                self._notices.recv(4096)
            except BlockingIOError:
                return count
            count += 1

    def close(self) -> None:
        self._notices.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 24.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 24.0),
        # Another process is meant: systemd's variables were inherited.
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_how_often(environ: dict[str, str], seconds: float | None) -> None:
    assert sign_interval_s(environ, 7) == seconds
    assert seconds is None or seconds < int(environ["WATCHDOG_USEC"]) / 2e6


def test_a_loop_that_turns_gives_signs_of_life_and_a_frozen_one_none(manager: Manager) -> None:
    environ = {**manager.environ, "WATCHDOG_USEC": "50000", "WATCHDOG_PID": str(os.getpid())}

    async def live() -> None:
        signs = asyncio.create_task(keep_watchdog(environ))
        for _ in range(3):
            assert await manager.next() == "WATCHDOG=1"
        manager.waiting()
        time.sleep(0.3)  # noqa: ASYNC251  (what the watchdog is for)
        assert manager.waiting() == 0
        assert await manager.next() == "WATCHDOG=1"
        signs.cancel()

    asyncio.run(live())


def test_nobody_waits_for_signs_of_life(manager: Manager) -> None:
    asyncio.run(asyncio.wait_for(keep_watchdog(manager.environ), TIMEOUT_S))
    assert manager.waiting() == 0


def test_the_status_follows_the_board(manager: Manager) -> None:
    async def live() -> None:
        board = Board(1, "config.toml", "systemd")
        following = asyncio.create_task(notify.keep_status(manager.environ, board, gap_s=0.05))
        assert await manager.next() == "STATUS=looking after 0 profiles"
        board.post({"a": lambda: tunnel("a", "up"), "b": lambda: tunnel("b", "blocked")})
        assert await manager.next() == "STATUS=looking after 2 profiles: 1 of 2 tunnels up, 1 blocked"
        following.cancel()

    asyncio.run(live())


def test_one_line_for_all_tunnels() -> None:
    board = Board(1, "config.toml", "systemd")
    board.post({"a": lambda: tunnel("a", "down")})
    assert notify.summary(board) == "looking after 1 profile"
    board.post({"a": lambda: tunnel("a", "retrying")})
    assert notify.summary(board) == "looking after 1 profile: 0 of 1 tunnel up"
    board.config_problem = {"kind": "config-invalid", "message": "line 3: wrong", "advice": "correct it"}
    assert notify.summary(board) == "the config is not read: line 3: wrong"


def test_a_full_queue_does_not_hold_the_daemon(manager: Manager) -> None:
    started_at = time.monotonic()
    # The kernel queues a few hundred at most (net.unix.max_dgram_qlen), and then makes the sender wait.
    while time.monotonic() - started_at < 0.3:
        notify.notify(manager.environ, "WATCHDOG=1")
    assert time.monotonic() - started_at < TIMEOUT_S


def test_who_started_it() -> None:
    for given, started_by in (("systemd", "systemd"), ("launchd", "launchd"), ("", "hand"), ("x", "hand")):
        assert notify.started_by({"JTUNNEL_SERVICE": given}) == started_by
    assert notify.started_by({}) == "hand"


def test_both_sides_keep_the_same_variables_from_others() -> None:
    assert notify.MANAGERS_VARIABLES == login_service.MANAGERS_VARIABLES
    environ = dict.fromkeys([*notify.MANAGERS_VARIABLES, "PATH"], "x")
    assert notify.for_children(environ) == {"PATH": "x"}
