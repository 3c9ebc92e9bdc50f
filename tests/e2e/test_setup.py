"""`jtunnel setup` from the command to the browser's address: the host's own server behind the tunnel."""

from __future__ import annotations

import http.cookiejar
import json
import os
import socket
import ssl
import urllib.parse
import urllib.request

import pytest

from tests.support.keys import Key
from tests.support.laptop import NAME, Laptop, new_laptop, remote_account

PASSWORD = "end-to-end-pässword"


def log_in(url: str, cafile: str) -> list[str]:
    """Log in by the form, trusting the certificate on the host alone; the answer is the root's names."""
    cookies = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=cafile)),
        urllib.request.HTTPCookieProcessor(cookies),
    )
    opener.open(f"{url}login", timeout=10).close()
    xsrf = next(cookie.value or "" for cookie in cookies if cookie.name == "_xsrf")
    form = urllib.parse.urlencode({"password": PASSWORD, "_xsrf": xsrf}).encode()
    opener.open(f"{url}login", form, timeout=10).close()
    with opener.open(f"{url}api/contents", timeout=10) as answer:
        return [entry["name"] for entry in json.load(answer)["content"]]


@pytest.mark.long
def test_a_server_of_its_own_behind_the_tunnel(host_key: Key, client_key: Key, notebook6_bin: str) -> None:
    with (
        remote_account() as account,
        new_laptop(account, host_key, client_key, path=notebook6_bin) as laptop,
        socket.create_server(("127.0.0.1", 0)) as reserved,
    ):
        account.write("work/mine.txt", "x")
        if account.uid == 0:
            laptop.configure({"allow_root": True})
        port = str(reserved.getsockname()[1])
        reserved.close()
        words = ("setup", NAME, "--tls", "--port", port, "--directory", "~/work", "--password-stdin")
        shown = laptop.jtunnel.check(*words, "--dry-run", stdin=f"{PASSWORD}\n")
        assert '"password": "argon2:… (new)"' in shown
        assert not os.path.exists(account.path(".jupyter/jupyter_notebook_config.json"))
        laptop.jtunnel.check(*words, "--yes", "--start", stdin=f"{PASSWORD}\n", timeout=100)
        _check_tunnel(laptop, account.path(".jupyter/jtunnel-certificate.pem"), int(port))
        same = laptop.jtunnel.check(*words, stdin=f"{PASSWORD}\n")
        assert same.startswith(f"{NAME}  nothing to change on ")
        undone = laptop.jtunnel.check("setup", NAME, "--undo", "--yes")
        assert "undone" in undone
        assert os.listdir(account.path(".jupyter")).count("jtunnel-key.pem") == 0
        for words_of_all in (laptop.jtunnel.log_tail(10_000), json.dumps(laptop.jtunnel.status())):
            assert PASSWORD not in words_of_all


def _check_tunnel(laptop: Laptop, certificate: str, port: int) -> None:
    server = laptop.server()
    assert (server["origin"], server["target"]) == ("adopted", f"127.0.0.1:{port}")
    url = laptop.jtunnel.check("url", NAME).strip()
    parts = urllib.parse.urlsplit(url)
    assert (parts.scheme, parts.hostname) == ("https", "localhost")
    assert log_in(f"https://localhost:{parts.port}/", certificate) == ["mine.txt"]
