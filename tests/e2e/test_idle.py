"""What the daemon does while nothing happens: next to nothing."""

from __future__ import annotations

import glob
import sys
import time

import pytest

from tests.support.client import Jtunnel
from tests.support.profiles import profile
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, free_port

TUNNELS = 50
WATCHED_S = 30.0
#: The tick of the machine's watch, and the keepalives below: one question and one answer for each link.
TICKS = WATCHED_S / 2
KEEPALIVE_S = 20
KEEPALIVES = 2 * TUNNELS * WATCHED_S / KEEPALIVE_S


def wakeups(pid: int) -> int:
    """How often the threads of a process have waited and gone on."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/status"):
        with open(path) as file:
            line = next(line for line in file if line.startswith("voluntary_ctxt_switches"))
        total += int(line.split()[1])
    return total


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_fifty_idle_tunnels_wake_the_daemon_less_than_once_a_second(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer
) -> None:
    jtunnel.write_config(
        "".join(
            profile(
                f"t{number}",
                f"{free_port()}:{echo.target}",
                share=False,
                keepalive_interval=KEEPALIVE_S,
            )
            for number in range(TUNNELS)
        )
    )
    jtunnel.check("up", "--all")
    pid = jtunnel.daemon_pid()
    assert pid is not None
    # Each connection's first command comes a moment after it is up.
    last, now = -1, wakeups(pid)
    while now - last > 20:
        time.sleep(2)
        last, now = now, wakeups(pid)
    time.sleep(WATCHED_S)
    woken = wakeups(pid) - now
    print(
        f"{woken} wake-ups in {WATCHED_S:.0f} s, expected {TICKS:.0f} ticks and {KEEPALIVES:.0f} keepalives"
    )
    assert woken < TICKS + KEEPALIVES + WATCHED_S
