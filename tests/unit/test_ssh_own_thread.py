"""Blocking calls in threads of their own, as reading an ssh_config that runs commands."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from jtunnel.errors import LinkError
from jtunnel.ssh.destination import Destination
from jtunnel.ssh.own_thread import OwnThreads, run_in_own_thread
from jtunnel.ssh.resolve import resolve
from tests.support.ssh_connection import run


def test_an_error_is_raised_where_it_is_waited_for() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await run_in_own_thread(lambda: 1 / 0)

    run(main)


def test_an_error_that_nobody_waits_for_is_no_news() -> None:
    async def main() -> None:
        threads = OwnThreads(at_once=1, limit_s=10, most=2, most_each=2)
        begun, may_fail = threading.Event(), threading.Event()

        def fail() -> None:
            begun.set()
            may_fail.wait(10)
            raise ZeroDivisionError

        asking = asyncio.ensure_future(threads.ask("x", fail))
        await run_in_own_thread(lambda: begun.wait(10))
        asking.cancel()
        await asyncio.wait([asking])
        may_fail.set()
        assert await threads.ask("y", lambda: 1) == 1

    run(main)


def test_a_command_of_ssh_config_that_hangs_is_not_run_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, calls = tmp_path / "gate", tmp_path / "calls"
    os.mkfifo(gate)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(
        f'Match host box exec "echo x >>{calls}; read x <{gate}"\n  User late\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    environ = {"HOME": str(tmp_path)}

    async def main() -> None:
        threads = OwnThreads(at_once=4, limit_s=0.5, most=8, most_each=2)
        for _ in range(4):
            with pytest.raises(LinkError, match="Match exec"):
                await resolve(Destination("box"), environ, threads)
        assert calls.read_text() == "x\nx\n"
        # It holds up no other host, and may be read again once it has come to its end.
        assert (await resolve(Destination("other"), environ, threads)).host == "other"
        writer.write(b"go\n" * 2)
        resolved = None
        while resolved is None:
            try:
                resolved = await resolve(Destination("box"), environ, threads)
            except LinkError:
                writer.write(b"go\n")
        assert resolved.user == "late"

    with open(gate, "r+b", buffering=0) as writer:
        run(main)
