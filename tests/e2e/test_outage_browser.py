"""A notebook that does not notice: the connection goes away under an open JupyterLab, and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.accounts import Account
from tests.support.browser import Lab, browser_tab
from tests.support.laptop import NAME, Laptop, remote_account
from tests.support.sshd import Sshd

OUTAGE_S = 10.0
#: From the server's return to the next cell's result; most of it is the wait for the next try to connect.
RESULT_WITHIN_S = 8.0
#: Prints once a second, and ends while the connection is away.
TICKING = "import time\nfor tick in range(9):\n    print('tick', tick, flush=True)\n    time.sleep(1)"

pytestmark = pytest.mark.long


@pytest.fixture
def lab_account() -> Iterator[Account]:
    """Someone to log in as; JupyterLab keeps what a browser had open, so each test has another."""
    with remote_account() as made:
        yield made


@pytest.fixture
def lab(laptop: Laptop) -> Iterator[Lab]:
    """A new notebook, open in the browser."""
    laptop.up()
    with browser_tab() as tab:
        tab.open(laptop.jtunnel.check("url", NAME).strip())
        tab.new_notebook()
        yield tab


def test_a_notebook_goes_on_after_ten_seconds(
    laptop: Laptop, lab: Lab, lab_sshd: Sshd, capsys: pytest.CaptureFixture[str]
) -> None:
    server = laptop.server()["pid"]
    lab.run_cell(TICKING)
    lab.wait_output(1, "tick 2")

    lab_sshd.stop()
    laptop.jtunnel.wait_state(NAME, "retrying", 10.0)
    lab.page.wait_for_timeout(OUTAGE_S * 1000)
    assert lab.dialogs() == []
    lab_sshd.start()
    returned_at = time.monotonic()
    laptop.jtunnel.wait_state(NAME, "up", 30.0)
    up_s = time.monotonic() - returned_at
    # What is run before that comes late: see the next test.
    lab.wait_idle()
    lab.run_cell("'six times seven: ' + str(6 * 7)")
    lab.wait_output(2, "six times seven: 42")
    result_s = time.monotonic() - returned_at

    lab.screenshot("after-the-outage")
    with capsys.disabled():
        print(f"\nfrom the server's return: up after {up_s:.2f} s, the next cell's result {result_s:.2f} s")
    assert lab.dialogs() == []
    assert lab.loads == 1
    assert result_s <= RESULT_WITHIN_S
    now = laptop.server()
    assert (now["pid"], now["kernels"]) == (server, 1)


def test_what_is_run_meanwhile_is_done_afterwards(laptop: Laptop, lab: Lab, lab_sshd: Sshd) -> None:
    lab_sshd.stop()
    laptop.jtunnel.wait_state(NAME, "retrying", 10.0)
    lab.run_cell("'six times seven: ' + str(6 * 7)")
    lab_sshd.start()
    # JupyterLab keeps it for 3 s more: its own question for the kernel's state waits behind it.
    lab.wait_output(1, "six times seven: 42")
    assert lab.dialogs() == []
    assert lab.loads == 1
