"""Two nodes that share a home, each with processes, a network and a disk of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.accounts import Account
from tests.support.home import SYSTEM_PATH
from tests.support.keys import Key
from tests.support.laptop import NAME, Laptop, new_jtunnel, remote_account
from tests.support.node import Node
from tests.support.programs import find_program
from tests.support.sshd import Sshd

pytestmark = [pytest.mark.long, pytest.mark.root]

#: A web server that keeps all that it is asked.
RECORDER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.requestline, self.headers, flush=True)
        self.send_error(404)
    do_POST = do_GET
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def account() -> Iterator[Account]:
    """Someone to log in as."""
    with remote_account() as made:
        yield made


class Site:
    """The nodes, and a laptop for each."""

    def __init__(self, nodes: dict[str, Node], laptops: dict[str, Laptop]) -> None:
        self.nodes = nodes
        self.laptops = laptops


@pytest.fixture
def site(account: Account, host_key: Key, client_key: Key, notebook6_bin: str) -> Iterator[Site]:
    """Login nodes ln02 and ln03."""
    find_program("ip")
    disk = f"/tmp/jtunnel-{account.uid}"
    os.mkdir(disk, 0o700)
    os.chown(disk, account.uid, account.gid)
    environ = {"PATH": f"{notebook6_bin}:{SYSTEM_PATH}"}
    with contextlib.ExitStack() as stack:
        nodes, laptops = {}, {}
        for name in ("ln02", "ln03"):
            node = stack.enter_context(Node(name, account.write(f"{name}.boot", f"{name}\n"), apart=True))
            options = f"mode=700,uid={account.uid},gid={account.gid}"
            node.run("mount", "-t", "tmpfs", "-o", options, "tmpfs", disk)
            sshd = Sshd(
                host_key,
                account,
                authorized=[client_key],
                env=environ,
                host=node.give_address(),
                port=22,
                entry=node.entry,
            )
            stack.enter_context(sshd)
            nodes[name] = node
            laptops[name] = Laptop(stack.enter_context(new_jtunnel()), sshd, client_key)
        yield Site(nodes, laptops)


@contextlib.contextmanager
def recording(node: Node, account: Account, pid: int, port: int) -> Iterator[str]:
    """A process of the account with this number and port, there; the answer is a file of what it is asked."""
    path = account.write("recorded", "")
    node.run("sh", "-c", f"echo {pid - 1} >/proc/sys/kernel/ns_last_pid")
    who = ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
    with open(path, "w") as file:
        # The first process that nsenter starts has the next number; exec keeps it.
        process = subprocess.Popen(
            [*node.enter, *who, "/usr/bin/python3", "-c", RECORDER, str(port)], stdout=file, stderr=file
        )
    try:
        yield path
    finally:
        process.kill()
        process.wait()


def test_what_runs_on_another_node_is_neither_trusted_nor_deleted(site: Site, account: Account) -> None:
    here, there = site.laptops["ln02"], site.laptops["ln03"]
    pid = there.start_by_hand("jupyter notebook --no-browser")
    runtime = account.path(f".local/share/jupyter/runtime/nbserver-{pid}.json")
    with open(runtime) as file:
        entry = json.load(file)
    assert entry["token"]
    here.configure({"start": "never"})
    with recording(site.nodes["ln02"], account, pid, entry["port"]) as recorded:
        assert here.log_in(
            f"until [ -s recorded ]; do curl -s localhost:{entry['port']}; done; kill -0 {pid}; hostname"
        ).endswith("ln02\n")
        here.up_fails("jupyter-missing", "no Jupyter server", "ln02")
        with open(recorded) as file:
            assert entry["token"] not in file.read()
    with open(runtime) as file:
        assert json.load(file) == entry

    there.configure({"start": "never"})
    found = there.up()
    assert (found["host"], found["pid"], found["origin"]) == ("ln03", pid, "adopted")
    there.jtunnel.check("down", NAME)
    here.up_fails("server-gone", "lives on ln03", "led to ln02", "jtunnel up gpu")
    there.up()
    there.jtunnel.check("stop", NAME)
    assert not os.path.exists(runtime)
