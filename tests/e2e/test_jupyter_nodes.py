"""A host name that leads to one login node or another: two sshd of different host names, and one home."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.support import processes
from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.home import SYSTEM_PATH
from tests.support.keys import Key
from tests.support.laptop import NAME, Laptop, remote_account
from tests.support.programs import find_program
from tests.support.sshd import Sshd

pytestmark = [pytest.mark.root, pytest.mark.long]

#: unshare(2), mount(2)
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUTS = 0x04000000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_MS_BIND = 0x1000


@pytest.fixture
def lab_account() -> Iterator[Account]:
    """Someone to log in as who has never used Jupyter."""
    with remote_account() as made:
        yield made


class Node:
    """A host name and a boot of its own, for what its thread starts; the kernel and its files are shared."""

    def __init__(self, name: str, boot: str) -> None:
        self._name = name
        self._boot = boot
        self._thread = ThreadPoolExecutor(1)
        self.run(self._enter)

    def run(self, action: Callable[[], object]) -> None:
        """Do something there."""
        self._thread.submit(action).result()

    def close(self) -> None:
        """End the thread, and with the last process there the node is gone."""
        self._thread.shutdown()

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        name = self._name.encode()
        boot_id = b"/proc/sys/kernel/random/boot_id"
        for result in (
            libc.unshare(_CLONE_NEWNS | _CLONE_NEWUTS),
            libc.sethostname(name, len(name)),
            libc.mount(None, b"/", None, _MS_REC_PRIVATE, None),
            libc.mount(self._boot.encode(), boot_id, None, _MS_BIND, None),
        ):
            assert result == 0, os.strerror(ctypes.get_errno())


@pytest.fixture
def sshds(host_key: Key, client_key: Key, lab_account: Account, jupyter_bin: str) -> Iterator[SameAddress]:
    """Two sshd that listen at the same address, one at a time."""
    find_program("sshd")
    environ = {"PATH": f"{jupyter_bin}:{SYSTEM_PATH}"}
    with contextlib.ExitStack() as stack:
        nodes = {}
        for name in ("ln02", "ln03"):
            boot = lab_account.write(f"{name}.boot", f"boot-of-{name}\n")
            node = Node(name, boot)
            stack.callback(node.close)
            nodes[name] = (node, Sshd(host_key, lab_account, authorized=[client_key], env=environ))
        address = SameAddress(nodes)
        stack.callback(address.stop)
        address.lead_to("ln03")
        yield address


class SameAddress:
    """An address that leads to one of several nodes."""

    def __init__(self, nodes: dict[str, tuple[Node, Sshd]]) -> None:
        self._nodes = nodes
        self._now: str | None = None

    @property
    def sshd(self) -> Sshd:
        """The sshd that answers now."""
        assert self._now is not None
        return self._nodes[self._now][1]

    def lead_to(self, name: str) -> None:
        """From now on every new connection gets to that node; the old ones are cut."""
        port = self.sshd.port if self._now else 0
        self.stop()
        node, sshd = self._nodes[name]
        sshd.port = port
        node.run(sshd.start)
        self._now = name

    def stop(self) -> None:
        """Let nobody answer."""
        if self._now is not None:
            node, sshd = self._nodes[self._now]
            node.run(sshd.stop)
            self._now = None


@pytest.fixture
def laptop(jtunnel: Jtunnel, sshds: SameAddress, client_key: Key) -> Laptop:
    """A laptop that has never been there."""
    return Laptop(jtunnel, sshds.sshd, client_key)


def servers(account: Account) -> list[int]:
    """The Jupyter servers that run, on whichever node."""
    running = processes.running_with("HOME", account.home)
    return [process.pid for process in running if any("root_dir" in word for word in process.cmdline())]


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
