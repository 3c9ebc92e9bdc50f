"""`jtunnel logs NAME --remote -f`: through an outage, from one server to the next, until Ctrl-C."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest

from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.keys import Key
from tests.support.laptop import ALIAS, NAME, Laptop
from tests.support.sshd import Sshd

pytestmark = pytest.mark.long

CONFIG = f"""
[profiles.{NAME}]
host = "{ALIAS}"
[profiles.{NAME}.service]
command = "/usr/bin/python3 -u -m http.server --bind 127.0.0.1 {{port}}"
directory = "~/site"
"""


@pytest.fixture
def site(jtunnel: Jtunnel, host_key: Key, client_key: Key, lab_account: Account) -> Iterator[Laptop]:
    lab_account.write("site/hello.txt", "hello")
    with Sshd(host_key, lab_account, authorized=[client_key]) as sshd:
        laptop = Laptop(jtunnel, sshd, client_key)
        jtunnel.write_config(CONFIG)
        yield laptop
        jtunnel.run("stop", NAME, "--force")


def get(jtunnel: Jtunnel, path: str) -> None:
    (forward,) = jtunnel.tunnel(NAME)["forwards"]
    with urllib.request.urlopen(f"http://{forward['listen']}/{path}", timeout=30) as page:
        page.read()


def test_followed(site: Laptop) -> None:
    jtunnel = site.jtunnel
    jtunnel.check("up", NAME)
    with jtunnel.spawn("logs", NAME, "--remote", "-f") as terminal:
        get(jtunnel, "hello.txt?1")
        terminal.wait_for("GET /hello.txt?1")
        site.sshd.stop()
        site.sshd.drop_sessions()
        terminal.wait_for("waiting for it to come back")
        site.sshd.start()
        terminal.wait_for(f"{NAME} is back")
        get(jtunnel, "hello.txt?2")
        seen = terminal.wait_for("GET /hello.txt?2")
        assert jtunnel.check("restart", "--server", "--force", NAME, timeout=90) is not None
        get(jtunnel, "hello.txt?3")
        seen = terminal.wait_for("the log of a new server begins", after=seen)
        terminal.wait_for("GET /hello.txt?3", after=seen)
        terminal.type("\x03")
        assert terminal.wait() == 0
