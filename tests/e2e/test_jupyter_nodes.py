"""A host name that leads to one login node or another: two sshd of different host names, and one home."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import psutil
import pytest

from tests.support import processes
from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.home import SYSTEM_PATH
from tests.support.keys import Key
from tests.support.laptop import NAME, Laptop, remote_account
from tests.support.node import Node
from tests.support.programs import find_program
from tests.support.sshd import Sshd

pytestmark = [pytest.mark.root, pytest.mark.long]


@pytest.fixture
def lab_account() -> Iterator[Account]:
    """Someone to log in as who has never used Jupyter."""
    with remote_account() as made:
        yield made


@pytest.fixture
def sshds(host_key: Key, client_key: Key, lab_account: Account, jupyter_bin: str) -> Iterator[SameAddress]:
    """Two sshd that listen at the same address, one at a time."""
    find_program("sshd")
    environ = {"PATH": f"{jupyter_bin}:{SYSTEM_PATH}"}
    with contextlib.ExitStack() as stack:
        nodes = {}
        for name in ("ln02", "ln03"):
            boot = lab_account.write(f"{name}.boot", f"boot-of-{name}\n")
            node = stack.enter_context(Node(name, boot))
            sshd = Sshd(host_key, lab_account, authorized=[client_key], env=environ, entry=node.entry)
            stack.callback(sshd.close)
            nodes[name] = sshd
        address = SameAddress(nodes)
        stack.callback(address.stop)
        address.lead_to("ln03")
        yield address


class SameAddress:
    """An address that leads to one of several nodes."""

    def __init__(self, nodes: Mapping[str, Sshd]) -> None:
        self._nodes = nodes
        self._now: str | None = None

    @property
    def sshd(self) -> Sshd:
        """The sshd that answers now."""
        assert self._now is not None
        return self._nodes[self._now]

    def lead_to(self, name: str) -> None:
        """From now on every new connection gets to that node; the old ones are cut."""
        port = self.sshd.port if self._now else 0
        self.stop()
        sshd = self._nodes[name]
        sshd.port = port
        sshd.start()
        self._now = name

    def stop(self) -> None:
        """Let nobody answer."""
        if self._now is not None:
            self.sshd.stop()
            self._now = None


@pytest.fixture
def laptop(jtunnel: Jtunnel, sshds: SameAddress, client_key: Key) -> Laptop:
    """A laptop that has never been there."""
    return Laptop(jtunnel, sshds.sshd, client_key)


def servers(account: Account) -> list[int]:
    """The Jupyter servers that run, on whichever node."""
    running = processes.running_with("HOME", account.home)
    return [process.pid for process in running if "root_dir" in " ".join(processes.command_line(process))]


def test_the_server_stays_where_it_is(laptop: Laptop, sshds: SameAddress, lab_account: Account) -> None:
    found = laptop.up()
    assert found["host"] == "ln03"
    jupyter = laptop.jupyter()
    kernel = jupyter.begin_kernel()
    assert jupyter.run(kernel, "x = 41") == ""

    sshds.lead_to("ln02")
    blocked = laptop.jtunnel.wait_state(NAME, "blocked", 60.0)
    assert blocked["problem"] is not None
    assert blocked["problem"]["kind"] == "server-gone"
    assert "the Jupyter server of gpu lives on ln03, and box led to ln02" in blocked["problem"]["message"]
    assert servers(lab_account) == [found["pid"]]

    sshds.lead_to("ln03")
    assert laptop.up()["pid"] == found["pid"]
    assert psutil.Process(found["pid"]).is_running()
    assert laptop.jupyter().run(kernel, "x + 1") == "42"

    # Another laptop has never heard of it, but for the record that is left there.
    laptop.jtunnel.check("down", NAME)
    sshds.lead_to("ln02")
    ended = laptop.jtunnel.run("up", NAME, timeout=90.0)
    assert ended.returncode == 4
    assert "lives on ln03" in ended.stderr
    assert servers(lab_account) == [found["pid"]]
    sshds.lead_to("ln03")
    laptop.up()
    laptop.jtunnel.check("stop", NAME, "--force")
    assert servers(lab_account) == []
