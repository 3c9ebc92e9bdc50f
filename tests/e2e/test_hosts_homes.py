"""Homes in which nothing can be written: a clear problem, nothing half-done, and what works there does."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support import processes
from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.home import SYSTEM_PATH
from tests.support.keys import Key
from tests.support.laptop import Laptop, remote_account
from tests.support.node import Node
from tests.support.sshd import Sshd

pytestmark = [pytest.mark.long, pytest.mark.root]


@pytest.fixture
def account() -> Iterator[Account]:
    """Someone to log in as."""
    with remote_account() as made:
        yield made


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Where they log in."""
    boot = tmp_path_factory.mktemp("node") / "boot"
    boot.write_text("boot-of-ln01\n")
    with Node("ln01", str(boot)) as made:
        yield made


@pytest.fixture
def laptop(
    node: Node, account: Account, host_key: Key, client_key: Key, notebook6_bin: str, jtunnel: Jtunnel
) -> Iterator[Laptop]:
    """A laptop that leads there; the account's home is mounted afterwards."""
    environ = {"PATH": f"{notebook6_bin}:{SYSTEM_PATH}"}
    with Sshd(host_key, account, authorized=[client_key], env=environ, entry=node.entry) as sshd:
        yield Laptop(jtunnel, sshd, client_key)


def check_nothing_is_left(account: Account) -> None:
    """Neither a process, nor a lock, a socket or an environment of ours."""
    assert processes.running_with("HOME", account.home) == []
    directory = f"/tmp/jtunnel-{account.uid}"
    assert not os.path.exists(directory) or os.listdir(directory) == []


def test_a_home_that_is_read_only(laptop: Laptop, node: Node, account: Account) -> None:
    node.run("mount", "--bind", "-o", "ro", account.home, account.home)
    line = laptop.up_fails("jupyter-failed", "cannot write", account.path(".local/share/jtunnel"), "ln01")
    assert "read-only" in line.lower()
    check_nothing_is_left(account)


def test_a_home_that_is_full(laptop: Laptop, node: Node, account: Account) -> None:
    disk = f"size=16k,mode=700,uid={account.uid},gid={account.gid}"
    node.run("mount", "-t", "tmpfs", "-o", disk, "tmpfs", account.home)
    laptop.log_in("cat /dev/zero >fill 2>/dev/null; true")
    line = laptop.up_fails("jupyter-failed", "cannot write", account.path(".local/share/jtunnel"), "ln01")
    assert "no space" in line.lower() or "full" in line.lower()
    check_nothing_is_left(account)
