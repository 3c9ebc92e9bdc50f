"""A notebook that does not notice: sshd ends under an open JupyterLab, and comes back after a while.

Needs no root; what happens where the network goes away is in test_lab_browser.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.accounts import Account
from tests.support.browser import browser_tab
from tests.support.lab_browser import QUEUE_S, Watcher, new_notebook
from tests.support.laptop import NAME, Laptop, remote_account
from tests.support.sshd import Sshd

OUTAGE_S = 10.0
TICKS = 20
#: From the server's return to the results; most of it is the wait for the next try to connect.
RESULTS_WITHIN_S = 8.0 + QUEUE_S

pytestmark = pytest.mark.long


@pytest.fixture
def lab_account() -> Iterator[Account]:
    """Someone to log in as, who has never been there."""
    with remote_account() as made:
        yield made


def test_a_notebook_goes_on_when_sshd_was_away(
    laptop: Laptop, lab_sshd: Sshd, capsys: pytest.CaptureFixture[str]
) -> None:
    server = laptop.up()["pid"]
    with browser_tab() as lab:
        watcher = Watcher(lab.page)
        lab.open(laptop.jtunnel.check("url", NAME).strip())
        ticking, other = new_notebook(lab), new_notebook(lab)
        ticking.show()
        ticking.run_ticking(TICKS)
        ticking.wait_output(1, "tick 2")
        other.show()

        lab_sshd.stop()
        laptop.jtunnel.wait_state(NAME, "retrying", 10.0)
        other.wait_connecting(10.0)
        other.run("'meanwhile: ' + str(6 * 7)")
        lab.page.wait_for_timeout(OUTAGE_S * 1000)
        lab_sshd.start()
        returned_at = time.monotonic()
        laptop.jtunnel.wait_state(NAME, "up", 30.0)
        up_s = time.monotonic() - returned_at
        other.wait_connected(30.0)
        other.run("'next: ' + str(6 * 8)")
        other.wait_output(1, "meanwhile: 42")
        other.wait_output(2, "next: 48")
        results_s = time.monotonic() - returned_at

        # Both sides have known at once, so that Jupyter kept whatever the cell printed.
        ticking.wait_output(1, f"tick {TICKS - 1}")
        ticking.wait_done(1)
        assert ticking.ticks(1) == list(range(TICKS))
        lab.screenshot("after-sshd-was-away")
        with capsys.disabled():
            print(f"\nfrom the server's return: up after {up_s:.2f} s, both results after {results_s:.2f} s")
        assert lab.dialogs() == []
        assert lab.loads == 1
        assert watcher.refusals == []
        assert results_s <= RESULTS_WITHIN_S
    now = laptop.server()
    assert (now["pid"], now["kernels"]) == (server, 2)
