"""Sleeps and stalls of real processes and real clocks, and what watching costs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jtunnel.machine.wake import Ticks
from jtunnel.machine.watch import Watch
from tests.support.lab.namespace import Namespace
from tests.support.listening import LOOPS, run_on
from tests.support.machine_watch import NEVER_S, PATIENCE_S, WatchProcess, launch_in

linux = pytest.mark.skipif(sys.platform != "linux", reason="namespaces and /proc are Linux's")
loops = pytest.mark.parametrize("loop", LOOPS)


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Namespace]:
    """A network in which nothing happens."""
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.touch()
    with Namespace(str(resolv_conf)) as namespace:
        yield namespace


def wakings(pid: int) -> int:
    """How often a process has waited for something so far."""
    with open(f"/proc/{pid}/status") as status:
        return int(dict(line.split(":", 1) for line in status)["voluntary_ctxt_switches"])


@contextlib.contextmanager
def time_namespace(boot_offset_s: int) -> Iterator[str]:
    """A time namespace in which the machine has been up for so much longer; the answer is its file."""
    command = ["unshare", "--time", "--boottime", str(boot_offset_s), "sh", "-c", "echo; read line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"
        yield f"/proc/{holder.pid}/ns/time"
        holder.stdin.close()


@linux
@pytest.mark.root
@loops
@pytest.mark.parametrize("slept_s", [3600, 2])
def test_a_clock_that_jumps_in_a_live_process_is_a_sleep(loop: str, slept_s: int) -> None:
    with time_namespace(slept_s) as namespace, WatchProcess(loop=loop, tick_s=0.2) as watch:
        assert watch.ask("enter-time", namespace) == "Success"
        event = watch.wake()
        kind, seconds = event["gap"]
        assert (kind, event["wakes"]) == ("sleep", 1)
        assert seconds == pytest.approx(slept_s, abs=0.5)
        said = {3600: "woke after 60 min of sleep", 2: "woke after 2 s of sleep"}
        assert said[slept_s] in watch.log


@linux
@pytest.mark.root
def test_the_default_tick_sees_a_sleep_within_its_two_seconds() -> None:
    with time_namespace(3600) as namespace, WatchProcess() as watch:
        entered_at = time.monotonic()
        assert watch.ask("enter-time", namespace) == "Success"
        print(f"seen after {watch.wake()['at'] - entered_at:.2f} s")


@loops
def test_a_process_that_was_stopped_has_stalled(loop: str) -> None:
    with WatchProcess(loop=loop, tick_s=0.2, stall_s=1.0) as watch:
        watch.stop()
        time.sleep(1.5)  # the stall itself
        watch.resume()
        kind, seconds = watch.wake()["gap"]
        assert kind == "stall"
        assert 1.0 <= seconds < PATIENCE_S
        assert any("was paused" in line for line in watch.log)


@pytest.mark.long
def test_eleven_seconds_are_a_stall_and_five_are_not() -> None:
    with WatchProcess() as watch:
        watch.stop()
        time.sleep(5)
        watch.resume()
        for _ in range(10):
            watch.ask("has", "127.0.0.1")  # it goes on: so many turns of its loop, and the tick is over
        watch.stop()
        time.sleep(13)
        watch.resume()
        event = watch.wake()
        assert event["wakes"] == 1
        assert event["gap"][0] == "stall"
        assert 10.0 <= event["gap"][1] < 15.0


@linux
@pytest.mark.root
@loops
def test_the_kernels_word_hastens_the_tick_and_is_no_sleep(loop: str) -> None:
    async def main() -> None:
        with Ticks(tick_s=NEVER_S) as ticks:
            for _ in range(3):
                tick = asyncio.create_task(ticks.next())
                await asyncio.sleep(0)
                # Setting the clock to what it is, to the microsecond, is told as a resume is.
                time.clock_settime(time.CLOCK_REALTIME, time.time())
                async with asyncio.timeout(PATIENCE_S):
                    assert await tick is None

    run_on(loop, main())


@loops
def test_a_cancelled_watch_leaves_nothing_open(loop: str) -> None:
    async def main() -> None:
        before: set[str] = set()
        selector = getattr(asyncio.get_running_loop(), "_selector", None)
        registered = selector and set(selector.get_map())
        for cycle in range(20):
            watch = Watch(tick_s=0.01, debounce_s=0.01)
            running = asyncio.create_task(watch.run())
            for _ in range(cycle):
                await asyncio.sleep(0.001)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert asyncio.all_tasks() == {asyncio.current_task()}
            descriptors = set(os.listdir("/dev/fd"))
            # The loop may open some of its own at first.
            assert cycle == 0 or descriptors == before
            before = descriptors
            assert registered == (selector and set(selector.get_map()))

    run_on(loop, main())


@linux
@pytest.mark.root
@loops
def test_an_idle_watch_wakes_for_its_ticks_only(loop: str, quiet: Namespace) -> None:
    tick_s = 0.2
    with WatchProcess(loop=loop, launch=launch_in(quiet), tick_s=tick_s, look_s=1.0) as watch:
        began_at, began = time.monotonic(), wakings(watch.process.pid)
        while wakings(watch.process.pid) < began + 10:
            time.sleep(0.05)
        elapsed_s = time.monotonic() - began_at
        print(f"10 wakings in {elapsed_s:.2f} s at a tick of {tick_s} s")
        assert elapsed_s > 7 * tick_s
