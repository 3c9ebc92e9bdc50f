"""What the navigation of a browser gets from a tunnel that is away, and what all others do."""

from __future__ import annotations

import http.client
import socket
import time

import pytest

from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.keys import Key
from tests.support.sshd import Sshd
from tests.support.streams import dial, free_port

TOKEN = "0123456789abcdef"
NAVIGATION = (
    f"GET /lab?token={TOKEN} HTTP/1.1\r\nHost: localhost:8888\r\n"
    "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nSec-Fetch-Mode: navigate\r\n\r\n"
)
REQUEST = "GET /api/status HTTP/1.1\r\nHost: localhost:8888\r\nAccept: */*\r\nSec-Fetch-Mode: cors\r\n\r\n"


def profile(name: str, host: str, port: int, more: str = "") -> str:
    return f'[profiles.{name}]\nhost = "{host}"\n{more}\n[profiles.{name}.jupyter]\nlocal_port = {port}\n'


def ask(port: int, request: str) -> socket.socket:
    """Send a request and read nothing."""
    stream = dial(port)
    stream.sendall(request.encode())
    return stream


def read_page(browser: socket.socket) -> str:
    """The page of a 503 that is closed in order; what was sent and not read would have it reset."""
    response = http.client.HTTPResponse(browser)
    response.begin()
    assert (response.status, response.getheader("Connection")) == (503, "close")
    page = response.read().decode()
    assert browser.recv(1) == b""
    return page


def test_only_navigations_get_the_page_and_only_where_it_is_wanted(
    jtunnel: Jtunnel, home: Home, sshd: Sshd, account: Account, client_key: Key
) -> None:
    ports = {name: free_port() for name in ("away", "plain", "new")}
    home.add_host("nowhere", port=free_port(), user="me", identity=None, host_key=None)
    # Nobody has confirmed this one's key yet.
    home.add_host("unknown", port=sshd.port, user=account.name, identity=client_key, host_key=None)
    jtunnel.write_config(
        profile("away", "nowhere", ports["away"])
        + profile("plain", "nowhere", ports["plain"], "waiting_page = false")
        + profile("new", "unknown", ports["new"])
    )
    jtunnel.check("up", "--all", "--no-wait")
    for name, state in (("away", "retrying"), ("plain", "retrying"), ("new", "blocked")):
        jtunnel.wait_state(name, state)

    began = time.monotonic()
    with (
        ask(ports["away"], NAVIGATION) as browser,
        ask(ports["new"], NAVIGATION) as another,
        ask(ports["away"], REQUEST) as script,
        ask(ports["plain"], NAVIGATION) as unwanted,
    ):
        pages = {"away": read_page(browser), "new": read_page(another)}
        assert 1.5 < time.monotonic() - began < 5
        for stream in (script, unwanted):
            stream.settimeout(0.1)
            with pytest.raises(TimeoutError):
                stream.recv(1)
        for name, held in (("away", 1), ("plain", 1), ("new", 0)):
            assert jtunnel.tunnel(name)["forwards"][0]["held"] == held
    for name, page in pages.items():
        tunnel = jtunnel.tunnel(name)
        assert tunnel["problem"] is not None
        assert name in page
        assert tunnel["state"] in page
        assert tunnel["problem"]["message"] in page
        assert TOKEN not in page + jtunnel.log_tail(1000)
    assert "Next try" in pages["away"]
    assert "<code>jtunnel up new</code>" in pages["new"]
