"""Hosts whose users followed a post: ip = '*', a port, a certificate, a password, or no token at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import ssl
import stat
from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

import psutil
import pytest

from tests.support import processes
from tests.support.accounts import Account
from tests.support.certificates import Certificate, make_certificate
from tests.support.keys import Key
from tests.support.laptop import NAME, Laptop, new_laptop, remote_account
from tests.support.streams import free_port

pytestmark = [pytest.mark.long, pytest.mark.root]

PASSWORD = "correct horse"
_SALT = "8fb4584af1f3"
HASHED = f"sha256:{_SALT}:{hashlib.sha256(f'{PASSWORD}{_SALT}'.encode()).hexdigest()}"


@pytest.fixture
def account() -> Iterator[Account]:
    """Someone to log in as who has followed a post."""
    with remote_account() as made:
        yield made


@pytest.fixture
def certificate(account: Account) -> Certificate:
    """The one that the account made."""
    made = make_certificate(account.home)
    for path in (made.certificate, made.key):
        os.chown(path, account.uid, account.gid)
    return made


def configure(account: Account, **settings: object) -> None:
    """Write the account's Jupyter config, in the names of the old and of the new."""
    for application in ("notebook", "server"):
        name = {"notebook": "NotebookApp", "server": "ServerApp"}[application]
        lines = [f"c.{name}.{key} = {value!r}\n" for key, value in settings.items()]
        account.write(f".jupyter/jupyter_{application}_config.py", "".join(lines))


@pytest.mark.parametrize("fixture", ["jupyter_bin", "notebook6_bin"])
def test_what_jtunnel_starts_is_private_all_the_same(
    fixture: str,
    account: Account,
    certificate: Certificate,
    host_key: Key,
    client_key: Key,
    request: pytest.FixtureRequest,
) -> None:
    configure(
        account,
        ip="*",
        port=1008,
        certfile=certificate.certificate,
        keyfile=certificate.key,
        token="",
        password="",
        open_browser=True,
    )
    with new_laptop(account, host_key, client_key, path=request.getfixturevalue(fixture)) as laptop:
        found = laptop.up()
        target = found["target"]
        assert target is not None
        path = target.removeprefix("unix:")
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
        process = psutil.Process(found["pid"])
        assert not [each for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN]
        assert found["url"] is not None
        assert found["url"].startswith("http://localhost:")
        assert (found["password"], found["secure"]) == (False, False)
        jupyter = laptop.jupyter()
        assert len(jupyter.token) >= 32
        assert jupyter.status_code("/api/contents", token="") == 403
        assert jupyter.run(jupyter.begin_kernel(), "1+1") == "2"


@pytest.fixture
def laptop(account: Account, host_key: Key, client_key: Key, jupyter_bin: str) -> Iterator[Laptop]:
    """A laptop that has never been there, and starts nothing there."""
    with new_laptop(account, host_key, client_key, path=jupyter_bin) as met:
        met.configure({"start": "never"})
        yield met


def test_a_server_with_a_certificate_is_adopted(
    laptop: Laptop, account: Account, certificate: Certificate
) -> None:
    port = free_port()
    configure(account, ip="*", port=port, certfile=certificate.certificate, keyfile=certificate.key)
    pid = laptop.start_by_hand("jupyter server --no-browser")
    found = laptop.up()
    assert (found["pid"], found["origin"], found["target"]) == (pid, "adopted", f"127.0.0.1:{port}")
    assert (found["password"], found["secure"], found["kernels"]) == (False, True, 0)
    assert found["url"] is not None
    assert found["url"].startswith("https://localhost:")
    jupyter = laptop.jupyter()
    with open(certificate.certificate) as file:
        assert jupyter.certificate() == file.read()
    assert jupyter.run(jupyter.begin_kernel(), "1+1") == "2"
    laptop.jtunnel.check("down", NAME)
    assert laptop.up()["pid"] == pid
    process = psutil.Process(pid)
    laptop.jtunnel.check("stop", NAME, "--force")
    assert not processes.is_live(process)


def test_a_server_with_a_password_only_is_forwarded(laptop: Laptop, account: Account) -> None:
    configure(account, ip="*", port=free_port(), password=HASHED)
    pid = laptop.start_by_hand("jupyter server --no-browser")
    found = laptop.up()
    assert (found["pid"], found["origin"], found["state"]) == (pid, "adopted", "ready")
    assert (found["password"], found["secure"], found["kernels"]) == (True, False, None)
    check_the_password_opens_it(laptop)
    assert "password" in laptop.jtunnel.check("status", NAME)


def test_the_end_of_the_first_post(
    account: Account, certificate: Certificate, host_key: Key, client_key: Key, notebook6_bin: str
) -> None:
    """Notebook 6 with a password, a certificate and ip = '*', and `nohup jupyter notebook`."""
    port = free_port()
    configure(
        account,
        ip="*",
        port=port,
        password=HASHED,
        certfile=certificate.certificate,
        keyfile=certificate.key,
        open_browser=False,
    )
    with new_laptop(account, host_key, client_key, path=notebook6_bin) as laptop:
        pid = laptop.start_by_hand("jupyter notebook")
        found = laptop.up()
        assert (found["pid"], found["origin"], found["target"]) == (pid, "adopted", f"127.0.0.1:{port}")
        assert (found["password"], found["secure"]) == (True, True)
        assert found["url"] is not None
        assert found["url"].startswith("https://localhost:")
        assert found["url"].endswith("/tree")
        check_the_password_opens_it(laptop)


def check_the_password_opens_it(laptop: Laptop) -> None:
    """The address has no token; the login page takes the password, through the tunnel, and no other."""
    jupyter = laptop.jupyter()
    assert jupyter.token == ""
    assert jupyter.status_code("/api/status") == 403
    for password, is_let_in in (("wrong", False), (PASSWORD, True)):
        cookies = log_in(jupyter.host, jupyter.port, password, secure=bool(laptop.server()["secure"]))
        assert any(name.startswith("username-") for name in cookies) == is_let_in


def log_in(host: str, port: int, password: str, *, secure: bool) -> Mapping[str, str]:
    """Fill in Jupyter's login page; the answer is the cookies that it gives."""
    connection: http.client.HTTPConnection
    if secure:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=20.0, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=20.0)
    try:
        connection.request("GET", "/login")
        page = connection.getresponse()
        page.read()
        assert page.status == 200
        cookies = read_cookies(page)
        form = urlencode({"password": password, "_xsrf": cookies["_xsrf"]})
        headers = {
            "Cookie": f"_xsrf={cookies['_xsrf']}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        connection.request("POST", "/login", form, headers)
        answer = connection.getresponse()
        answer.read()
        return read_cookies(answer)
    finally:
        connection.close()


def read_cookies(response: http.client.HTTPResponse) -> Mapping[str, str]:
    """The cookies that a response sets."""
    given = [line.partition(";")[0].partition("=") for line in response.headers.get_all("Set-Cookie", [])]
    return {name: value for name, _, value in given}
