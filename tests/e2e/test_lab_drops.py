"""A hundred drops in a row while requests flow: each is answered or reset, and nothing piles up."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from tests.support.accounts import Account
from tests.support.keys import Key
from tests.support.lab.census import Census
from tests.support.lab.outage import FAULTS
from tests.support.lab.tunnel import PATIENCE_S, Access, Tunnel, open_tunnel

pytestmark = [pytest.mark.root, pytest.mark.long]

DROPS = 100
#: After so many whatever is made once has been made.
WARM = 10
BEAT_S = 0.1
#: What may differ without being a leak; Python's allocator keeps some of what it had.
SPARE_DESCRIPTORS = 3
SPARE_TASKS = 2
SPARE_THREADS = 1
SPARE_MIB = 8.0


def drop(tunnel: Tunnel, number: int) -> None:
    """Lose the connection for certain, and wait until there is another."""
    began_at = time.monotonic()
    before = tunnel.story.now["reconnects"]
    if number % 3:
        FAULTS["another address"].begin(tunnel.site)
        FAULTS["another address"].end(tunnel.site)
    else:
        tunnel.site.sshd.drop_sessions()
    back_at = tunnel.story.wait_for(
        lambda told: told["state"] == "up" and told["reconnects"] > before, PATIENCE_S, began_at
    )
    assert back_at is not None, f"drop {number}: {tunnel.story.now}\n{tunnel.jtunnel.log_tail()}"


def wait_quiet(tunnel: Tunnel) -> None:
    """Wait until nobody is served or held."""
    tunnel.jtunnel.wait_tunnel(
        "gpu", lambda told: all(forward["active"] == forward["held"] == 0 for forward in told["forwards"])
    )


def connections(tunnel: Tunnel) -> list[str]:
    """The laptop's connections to sshd, without those that the kernel ends by itself."""
    return tunnel.site.network.laptop.run(
        "ss", "-Htn", "state", "established", "state", "close-wait", "state", "syn-sent", "dport = :22"
    ).splitlines()


def test_a_hundred_drops(
    account: Account, host_key: Key, client_key: Key, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    census = Census(str(tmp_path))
    access = Access(account, client_key, host_key)
    with open_tunnel(access, daemon_env=census.env) as tunnel:
        daemon = tunnel.jtunnel.process()
        with tunnel.traffic() as traffic:
            traffic.beat_s = BEAT_S
            for number in range(WARM):
                drop(tunnel, number)
            traffic.settle(PATIENCE_S)
            wait_quiet(tunnel)
            before = census.take(daemon)
        began_at = time.monotonic()
        with tunnel.traffic() as traffic:
            traffic.beat_s = BEAT_S
            for number in range(DROPS):
                drop(tunnel, number)
            took_s = time.monotonic() - began_at
            hanging = traffic.settle(PATIENCE_S)
            counts = traffic.count()
        wait_quiet(tunnel)
        after = census.take(daemon)
        with capsys.disabled():
            print(f"\n{DROPS} drops in {took_s:.0f} s: {dict(counts)}; before: {before}; after: {after}")
        assert hanging == []
        assert counts["refused"] == counts["closed"] == 0
        assert counts["answered"] > DROPS
        assert tunnel.story.now["reconnects"] == WARM + DROPS
        assert psutil.pid_exists(daemon.pid)
        # One connection, and no remains of any other.
        assert len(connections(tunnel)) == 1, connections(tunnel)
        assert len(after.tasks) <= len(before.tasks) + SPARE_TASKS, (before.tasks, after.tasks)
        assert after.descriptors <= before.descriptors + SPARE_DESCRIPTORS
        assert after.threads <= before.threads + SPARE_THREADS
        assert after.rss_mib <= before.rss_mib + SPARE_MIB
