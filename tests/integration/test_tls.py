"""Servers that speak TLS: their certificate is the one on the host, and nobody else is told anything."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from jtunnel.address import TcpAddress
from jtunnel.service.certificate import certified, read_certificates
from jtunnel.service.script import run_script
from jtunnel.service.server import Server, StrangerError
from tests.support.certificates import Certificate, make_certificate
from tests.support.local_remote import RemoteHome, new_home, run

#: A server that reads its certificate anew for each connection, as Jupyter's does, and says its port first.
SERVER = """
import socket, ssl, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    stream, _ = listener.accept()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    try:
        with context.wrap_socket(stream, server_side=True) as secured:
            secured.recv(1)
    except OSError:
        stream.close()
"""


@pytest.fixture
def home() -> Iterator[RemoteHome]:
    with new_home() as made:
        yield made


@contextlib.contextmanager
def serving(
    home: RemoteHome, shown: Certificate, *arguments: str, directory: str = "", **variables: str
) -> Iterator[Server]:
    """A server that shows a certificate; `arguments` say what it was told."""
    os.makedirs(os.path.join(home.path, directory), exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, shown.certificate, shown.key, *arguments],
        cwd=os.path.join(home.path, directory),
        env=home.env | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield Server(
            target=TcpAddress("127.0.0.1", port),
            base_url="/",
            token="",
            pid=process.pid,
            started="",
            host="",
            version=None,
            root_dir="",
            origin="adopted",
            secure=True,
        )
    finally:
        process.kill()
        process.communicate()


def told(home: RemoteHome, server: Server) -> list[tuple[str, str]]:
    return run(read_certificates(home.connect(), server.pid))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--certfile={path}"],
        ["--ServerApp.certfile={path}"],
        ["--NotebookApp.certfile", "{path}", "--no-browser"],
        ["--certfile=certs/mine.pem"],
    ],
)
def test_an_argument_tells(home: RemoteHome, arguments: list[str]) -> None:
    os.mkdir(os.path.join(home.path, "certs"))
    mine = make_certificate(os.path.join(home.path, "certs"), "mine")
    home.write(".jupyter/jupyter_server_config.py", f"c.ServerApp.certfile = '{mine.key}'\n")
    with serving(home, mine, *(word.format(path=mine.certificate) for word in arguments)) as server:
        assert told(home, server) == [(mine.certificate, mine.fingerprint)]
        known = run(certified(home.connect(), server, owned=None, timeout_s=10))
        assert known.certificate == mine.fingerprint


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (".jupyter/jupyter_notebook_config.py", "c.NotebookApp.certfile = u'{path}'\n"),
        (
            ".jupyter/jupyter_server_config.py",
            '  c.ServerApp.certfile=os.path.expanduser("~/mine.pem") # x\n',
        ),
        (".jupyter/jupyter_server_config.json", '{{"ServerApp": {{"port": 1, "certfile": "{path}"}}}}'),
        (".jupyter/jupyter_server_config.d/tls.json", '{{"ServerApp": {{"certfile":"{path}"}}}}'),
        ("work/jupyter_server_config.py", "c.ServerApp.certfile = '../mine.pem'\n"),
        ("other/jupyter_lab_config.py", "c.ServerApp.certfile = '{path}'\n"),
    ],
)
def test_a_config_file_tells(home: RemoteHome, place: str, text: str) -> None:
    mine = make_certificate(home.path, "mine")
    home.write(
        place,
        "#c.ServerApp.certfile = '/none.pem'\n" * place.endswith(".py") + text.format(path=mine.certificate),
    )
    other = {"JUPYTER_CONFIG_DIR": f"{home.path}/other"} if place.startswith("other") else {}
    with serving(home, mine, directory="work", **other) as server:
        assert [known for _, known in told(home, server)] == [mine.fingerprint]


def test_a_key_in_the_same_file_stays_there(home: RemoteHome) -> None:
    mine = make_certificate(home.path)
    both = home.write("both.pem", "".join(home.read(name) for name in ("mycert.key", "mycert.pem")))
    with serving(home, mine, f"--certfile={both}") as server:
        report = run(
            run_script(home.connect(), "certificate", "x", kind="jupyter", timeout_s=30, pid=server.pid)
        )
        assert told(home, server) == [(both, mine.fingerprint)]
    (said,) = report.all("certificate")
    assert b"PRIVATE" not in bytes.fromhex(said.split()[0])


def test_a_certificate_that_no_file_tells(home: RemoteHome, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    mine = make_certificate(home.path, "mine")
    with serving(home, mine) as server:
        for owned in (None, False):
            with pytest.raises(StrangerError, match="another than the one in any file"):
                run(certified(home.connect(), server, owned=owned, timeout_s=10))
        known = run(certified(home.connect(), server, owned=True, timeout_s=10))
    assert known.certificate == mine.fingerprint
    assert "from the server itself, whose port is ours" in caplog.text


def test_another_certificate_than_the_one_on_the_host(
    home: RemoteHome, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    old, new = make_certificate(home.path, "old"), make_certificate(home.path, "new")
    with serving(home, old, f"--certfile={new.certificate}") as server:
        with pytest.raises(StrangerError, match=f"another than the one in {new.certificate}"):
            run(certified(home.connect(), server, owned=None, timeout_s=10))
        # Who owns the port may show what it likes.
        known = run(certified(home.connect(), server, owned=True, timeout_s=10))
        assert known.certificate == old.fingerprint
        assert f"whose port is ours; {new.certificate} has another" in caplog.text


def test_one_that_is_renewed_is_read_again(home: RemoteHome, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    old = make_certificate(home.path)
    with serving(home, old, f"--certfile={old.certificate}") as server:
        remote = home.connect()
        server = run(certified(remote, server, owned=True, timeout_s=10))
        assert remote.commands == 1
        assert run(certified(remote, server, owned=True, timeout_s=10)) == server
        # What is known is not looked up again.
        assert remote.commands == 1
        new = make_certificate(home.path)
        assert run(certified(remote, server, owned=None, timeout_s=10)).certificate == new.fingerprint
    assert "; it has changed" in caplog.text


def test_others_are_left_as_they_are(home: RemoteHome) -> None:
    async def main() -> None:
        plain = Server(TcpAddress("127.0.0.1", 1), "/", "", 1, "", "", None, "", "adopted")
        assert await certified(home.connect(), plain, owned=None, timeout_s=1) is plain

    asyncio.run(main())
