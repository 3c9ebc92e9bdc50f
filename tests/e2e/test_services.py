"""`[profiles.NAME.service]`: another server than Jupyter behind a local port, from `up` to `stop`."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import psutil
import pytest

from jtunnel.status import ServiceStatus
from tests.support import processes
from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.keys import Key
from tests.support.laptop import ALIAS, NAME, Laptop
from tests.support.sshd import Sshd

#: Every account has this one, and nothing has to be imported from another place.
SERVER = "/usr/bin/python3 -u -m http.server --bind 127.0.0.1 {port}"
CONFIG = f"""
[profiles.{NAME}]
host = "{ALIAS}"
[profiles.{NAME}.service]
command = "{SERVER}"
directory = "~/site"
ready = "/hello.txt"
page = "/hello.txt"
"""


@pytest.fixture
def site(jtunnel: Jtunnel, host_key: Key, client_key: Key, lab_account: Account) -> Iterator[Laptop]:
    lab_account.write("site/hello.txt", "hello from there")
    with Sshd(host_key, lab_account, authorized=[client_key]) as sshd:
        laptop = Laptop(jtunnel, sshd, client_key)
        jtunnel.write_config(CONFIG)
        yield laptop
        jtunnel.run("stop", NAME)


def served(jtunnel: Jtunnel) -> ServiceStatus:
    service = jtunnel.tunnel(NAME)["service"]
    assert service is not None
    return service


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as page:
        content: bytes = page.read()
        return content


@pytest.mark.long
def test_from_up_to_stop(site: Laptop, lab_account: Account) -> None:
    jtunnel = site.jtunnel
    said = jtunnel.run("up", NAME)
    assert said.returncode == 0, said.stderr + jtunnel.log_tail()
    service = served(jtunnel)
    process = psutil.Process(service["pid"] or 0)
    assert (service["state"], service["origin"]) == ("ready", "started")
    assert process.uids().real == lab_account.uid
    assert service["url"] is not None
    assert get(service["url"]) == b"hello from there"
    assert service["url"] in said.stdout + said.stderr
    assert jtunnel.check("url", NAME).strip() == service["url"]
    assert jtunnel.tunnel(NAME)["forwards"][0]["name"] == "service"
    assert jtunnel.tunnel(NAME)["jupyter"] is None
    assert "GET /hello.txt" in jtunnel.check("logs", NAME, "--remote")

    # It outlives the tunnel, and is taken again.
    jtunnel.check("down", NAME)
    assert processes.is_live(process)
    jtunnel.check("up", NAME)
    assert served(jtunnel)["pid"] == process.pid

    # A person's own wish for another one, with the port kept open meanwhile.
    jtunnel.check("restart", "--server", "--force", NAME)
    second = psutil.Process(served(jtunnel)["pid"] or 0)
    assert second.pid != process.pid
    assert not processes.is_live(process)
    assert get(service["url"]) == b"hello from there"

    # One that has ended is missed, and not replaced unasked.
    processes.kill([second])
    with pytest.raises(OSError, match=r"."):
        get(service["url"])
    blocked = jtunnel.wait_state(NAME, "blocked", 60.0)
    assert blocked["problem"] is not None
    assert blocked["problem"]["kind"] == "server-gone"
    jtunnel.check("up", NAME)
    third = psutil.Process(served(jtunnel)["pid"] or 0)
    jtunnel.check("stop", NAME)
    assert not processes.is_live(third)
    assert json.loads(jtunnel.check("rpc", "status"))["tunnels"][0]["state"] == "down"


def test_a_command_that_is_not_there(site: Laptop) -> None:
    site.jtunnel.write_config(CONFIG.replace("/usr/bin/python3", "no-such-program"))
    ended = site.jtunnel.run("up", NAME)
    assert ended.returncode == 4
    assert "no no-such-program on" in ended.stderr
    assert f"[profiles.{NAME}.service]" in ended.stderr
    problem = site.jtunnel.tunnel(NAME)["problem"]
    assert problem is not None
    assert problem["kind"] == "service-missing"
