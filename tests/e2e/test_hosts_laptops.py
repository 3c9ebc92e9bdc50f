"""One account and two laptops that know nothing of each other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import processes
from tests.support.accounts import Account
from tests.support.keys import Key
from tests.support.laptop import NAME, Laptop, new_laptop, remote_account

pytestmark = pytest.mark.long


@pytest.fixture
def account() -> Iterator[Account]:
    """Someone to log in as."""
    with remote_account() as made:
        yield made


def test_two_that_start_at_once_get_one_server(
    account: Account, host_key: Key, client_key: Key, notebook6_bin: str
) -> None:
    with (
        new_laptop(account, host_key, client_key, path=notebook6_bin) as first,
        new_laptop(account, host_key, client_key, path=notebook6_bin) as second,
    ):
        laptops = [first, second]
        # With both daemons there, both look at the same moment, and find nothing.
        for laptop in laptops:
            laptop.jtunnel.start_daemon()
        with ThreadPoolExecutor(2) as threads:
            found = list(threads.map(Laptop.up, laptops))
        assert found[0]["pid"] == found[1]["pid"]
        assert found[0]["target"] == found[1]["target"]
        assert servers_of(account) == [found[0]["pid"]]
        kernel = first.jupyter().begin_kernel()
        assert first.jupyter().run(kernel, "x = 41") == ""
        assert second.jupyter().run(kernel, "x + 1") == "42"
        second.jtunnel.check("stop", NAME, "--force")
        assert servers_of(account) == []


def servers_of(account: Account) -> list[int]:
    """The Jupyter servers that run there."""
    running = processes.running_with("HOME", account.home)
    return [process.pid for process in running if any("notebook_dir" in word for word in process.cmdline())]
