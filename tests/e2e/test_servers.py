"""`servers`, `adopt`, `stop --pid` and `restart --server`, with a tunnel and without one."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from typing import Any

import pytest

from jtunnel.status import JupyterStatus
from tests.support.accounts import Account
from tests.support.laptop import NAME, Laptop


def listed(laptop: Laptop) -> dict[int, dict[str, Any]]:
    document = json.loads(laptop.jtunnel.check("servers", NAME, "--json"))
    return {server["pid"]: server for server in document["servers"]}


def await_server(laptop: Laptop, pid: int) -> None:
    """Wait until it is listed as one that can be used."""
    deadline = time.monotonic() + 60
    while (server := listed(laptop).get(pid)) is None or server["problem"]:
        assert time.monotonic() < deadline, server


@pytest.mark.long
def test_servers_of_a_host(
    laptop: Laptop, lab_server: JupyterStatus, lab_account: Account, jupyter_bin: str
) -> None:
    jtunnel, first = laptop.jtunnel, lab_server["pid"]
    assert first is not None
    # Nothing is up here: the connection is only borrowed.
    found = listed(laptop)
    assert list(found) == [first]
    assert (found[first]["origin"], found[first]["profile"]) == ("jtunnel", NAME)
    assert found[first]["environment"] == jupyter_bin.removesuffix("/bin")
    assert jtunnel.tunnel(NAME)["state"] == "down"
    table = jtunnel.check("servers", NAME)
    assert str(first) in table

    # Another, begun by hand and newer, is not preferred to the one that is this profile's.
    command = f"{shlex.quote(jupyter_bin)}/jupyter lab --no-browser --ServerApp.ip=127.0.0.1"
    by_hand = begin(lab_account, command)
    try:
        await_server(laptop, by_hand.pid)
        assert laptop.up()["pid"] == first
        said = jtunnel.check("adopt", NAME, str(by_hand.pid))
        assert f"pid {by_hand.pid}" in said
        laptop.jtunnel.wait_state(NAME, "up", 60)
        server = laptop.server()
        assert (server["pid"], server["origin"]) == (by_hand.pid, "adopted")
        assert laptop.jupyter().ask("GET", "/api/status")["kernels"] == 0
        # Kept for next time.
        jtunnel.check("down", NAME)
        assert laptop.up()["pid"] == by_hand.pid
        # What jtunnel started and nobody uses now is offered.
        ended = jtunnel.run("servers", NAME)
        assert f"jtunnel stop {NAME} --pid {first}" in ended.stderr

        # Its end is said, though another one runs there whose kernels are others.
        os.kill(by_hand.pid, signal.SIGKILL)
        by_hand.wait()
        gone = jtunnel.wait_state(NAME, "blocked", 60)["problem"]
        assert gone is not None
        assert gone["kind"] == "server-gone"
        by_hand = begin(lab_account, command)
        await_server(laptop, by_hand.pid)

        jtunnel.check("adopt", NAME, str(first))
        laptop.jtunnel.wait_state(NAME, "up", 60)
        assert laptop.server()["pid"] == first
        jtunnel.check("stop", NAME, "--pid", str(by_hand.pid), "--force")
        assert list(listed(laptop)) == [first]
        assert laptop.jtunnel.tunnel(NAME)["state"] == "up"
    finally:
        by_hand.kill()
        by_hand.wait()

    refused = jtunnel.run("adopt", NAME, "1")
    assert refused.returncode != 0
    assert f"jtunnel servers {NAME}" in refused.stderr
    assert refused.stderr.count("\n") == 1


def begin(account: Account, command: str) -> subprocess.Popen[bytes]:
    """Start a server as the account does it by hand."""
    return subprocess.Popen(
        ["/bin/sh", "-c", f"exec {command}"],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd=account.home,
        env={"HOME": account.home, "PATH": "/usr/bin:/bin", **account.session_env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
