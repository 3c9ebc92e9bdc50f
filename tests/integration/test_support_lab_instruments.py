"""The instruments of the outage lab: requests that tell how they end, clocks that jump, counted tasks."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.lab.census import Census
from tests.support.lab.clock import Clock
from tests.support.lab.network import open_network
from tests.support.lab.traffic import Traffic
from tests.support.streams import EchoServer

pytestmark = [pytest.mark.root, pytest.mark.long]

CLOCKS = ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC", "CLOCK_REALTIME")
#: Tells its clocks for each line that it reads, having slept for a moment.
TELLS_CLOCKS = f"""
import sys, time
for line in sys.stdin:
    time.sleep(0.01)
    print(*(time.clock_gettime(getattr(time, name)) for name in {CLOCKS}), flush=True)
"""
HOLDS_TASKS = """
import asyncio, sys
async def main():
    tasks = [asyncio.create_task(asyncio.Event().wait()) for _ in range(3)]
    print("ready", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_requests_tell_how_they_end() -> None:
    with open_network() as network:
        laptop = network.laptop
        with laptop.call(EchoServer) as echo, Traffic(laptop, echo.port, beat_s=0.02) as traffic:
            began_at = time.monotonic()
            assert traffic.wait_usable(began_at, 5) < 1
            assert traffic.settle(5) == []
            assert set(traffic.count()) == {"answered"}
        with Traffic(laptop, echo.port, beat_s=0.02) as traffic:
            assert traffic.wait_for(lambda traffic: traffic.count()["refused"] > 1, 5)


@pytest.mark.parametrize(("lingers", "outcome"), [(True, "reset"), (False, "closed")])
def test_a_request_without_an_answer(lingers: bool, outcome: str) -> None:
    with open_network() as network, network.laptop.open_socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with Traffic(network.laptop, listener.getsockname()[1], beat_s=60) as traffic:
            stream, _ = listener.accept()
            assert traffic.count()["open"] == 1
            stream.recv(100)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", lingers, 0))
            stream.close()
            assert traffic.settle(5) == []
            assert list(traffic.count()) == [outcome]


def test_clocks_jump_in_a_live_process(tmp_path: Path) -> None:
    with Clock(str(tmp_path)) as clock:
        process = subprocess.Popen(
            [sys.executable, "-c", TELLS_CLOCKS],
            env={**os.environ, **clock.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None

            def ahead() -> list[float]:
                """By how many seconds its clocks are ahead of ours."""
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("\n")
                process.stdin.flush()
                told = map(float, process.stdout.readline().split())
                return [
                    theirs - time.clock_gettime(getattr(time, name))
                    for theirs, name in zip(told, CLOCKS, strict=True)
                ]

            assert ahead() == pytest.approx([0, 0, 0], abs=1)
            clock.sleep(600)
            assert ahead() == pytest.approx([600, 0, 600], abs=1)
            clock.pass_time(60)
            assert ahead() == pytest.approx([660, 60, 660], abs=1)
            process.stdin.close()


def test_a_census_counts_tasks(tmp_path: Path) -> None:
    census = Census(str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS_TASKS],
        env={**os.environ, **census.env},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            for _ in range(2):
                holding = census.take(psutil.Process(process.pid))
                assert sorted(holding.tasks) == ["Event.wait"] * 3 + ["main"]
                assert holding.threads == 1
                assert holding.descriptors > 2
        finally:
            process.kill()
