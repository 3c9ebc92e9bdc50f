"""Jupyter servers that people have made to speak TLS, or to ask for a password: adopted as they are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest

from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ServerError
from jtunnel.jupyter.jupyter import Jupyter
from jtunnel.jupyter.kernels import Kernels, ask_kernels
from jtunnel.service.log import read_log
from jtunnel.service.server import Server, StrangerError
from tests.support.certificates import make_certificate
from tests.support.local_remote import RemoteHome, new_home, new_key, run
from tests.support.notebook import Jupyter as Notebook

pytestmark = pytest.mark.long

PASSWORD = "sha1:a:deadbeef"


@pytest.fixture(scope="module")
def notebook6(notebook6_bin: str) -> Iterator[RemoteHome]:
    """A classic notebook as an old post makes it: certificate in its config, started with nohup."""
    with new_home(notebook6_bin) as home, by_hand(home, "notebook", ""):
        yield home


def jupyter_in(home: RemoteHome, key: str) -> Jupyter:
    """What adopts the server of that home, and no other that may run on this machine."""
    return Jupyter(JupyterOptions(directory=home.path, start="never"), key)


@contextlib.contextmanager
def by_hand(home: RemoteHome, program: str, settings: str) -> Iterator[None]:
    made = make_certificate(home.path)
    kind = {"notebook": ("notebook", "NotebookApp")}.get(program, ("server", "ServerApp"))
    home.write(
        f".jupyter/jupyter_{kind[0]}_config.py",
        f"c.{kind[1]}.certfile = '{made.certificate}'\nc.{kind[1]}.keyfile = '{made.key}'\n"
        f"c.{kind[1]}.ip = '127.0.0.1'\n{settings}",
    )
    with open(home.write("nohup.out", ""), "w") as output:
        process = subprocess.Popen(
            [f"{home.env['PATH'].split(':')[0]}/jupyter", program, "--no-browser", "--allow-root"],
            cwd=home.path,
            env=home.env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def found(home: RemoteHome, key: str) -> Server:
    """The server, as soon as it answers."""
    jupyter, problem = jupyter_in(home, key), None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(30):
            while True:
                try:
                    server = await jupyter.find(home.connect())
                except ServerError as error:
                    problem = error
                else:
                    if server is not None and server.answering:
                        return server
                await asyncio.sleep(0.2)
    raise AssertionError(f"not found: {problem}")


def test_a_classic_notebook_with_tls(notebook6: RemoteHome) -> None:
    key = new_key()
    jupyter = jupyter_in(notebook6, key)
    server = run(found(notebook6, key))
    assert (server.secure, server.origin, server.password) == (True, "adopted", False)
    assert jupyter.url(server, 8888, token=False) == "https://localhost:8888/tree"
    answer = run(jupyter.probe(notebook6.connect(), server, timeout_s=20))
    assert (answer.version, answer.kernels, answer.busy) == ("6.5.7", 0, 0)
    # It is known from the record.
    assert run(jupyter.find(notebook6.connect())) == server
    # Its log is what it prints, its token left out.
    part = run(read_log(notebook6.connect(), key, 100, pid=server.pid))
    assert part.path == os.path.join(notebook6.path, "nohup.out")
    assert "token=..." in part.text
    assert server.token not in part.text


def test_its_kernels_and_that_asking_is_no_use_of_it(notebook6: RemoteHome) -> None:
    key = new_key()
    jupyter = jupyter_in(notebook6, key)
    server = run(found(notebook6, key))
    remote = notebook6.connect()
    user = Notebook(f"https://127.0.0.1:{server.target.port}/?token={server.token}")  # type: ignore[union-attr]
    kernel = user.begin_kernel()
    try:
        with user.kernel(kernel) as connected:
            connected.run("print(1)")
        assert run(ask_kernels(remote, server, timeout_s=20)) == Kernels(1, 0)
        before = run(jupyter.probe(remote, server, timeout_s=20))
        assert (before.kernels, before.busy) == (1, 0)
        for _ in range(3):
            assert run(jupyter.probe(remote, server, timeout_s=20)) == before
    finally:
        user.end_kernel(kernel)


def test_a_certificate_that_is_renewed_under_it(notebook6: RemoteHome) -> None:
    key = new_key()
    jupyter = jupyter_in(notebook6, key)
    old = run(found(notebook6, key))
    # Jupyter reads the file for each connection.
    new = make_certificate(notebook6.path)
    with pytest.raises(StrangerError, match="is another than the one on the host"):
        run(jupyter.probe(notebook6.connect(), old, timeout_s=20))
    server = run(found(notebook6, key))
    assert (server.pid, server.certificate) == (old.pid, new.fingerprint)
    assert run(jupyter.probe(notebook6.connect(), server, timeout_s=20)).kernels == 0
    assert run(jupyter.find(notebook6.connect())) == server


@pytest.mark.parametrize("kind", ["jupyter_bin", "notebook6_bin"])
def test_a_password_only(kind: str, request: pytest.FixtureRequest) -> None:
    program, setting = {
        "jupyter_bin": ("server", "c.PasswordIdentityProvider.hashed_password"),
        "notebook6_bin": ("notebook", "c.NotebookApp.password"),
    }[kind]
    key = new_key()
    with (
        new_home(request.getfixturevalue(kind)) as home,
        by_hand(home, program, f"{setting} = '{PASSWORD}'\n"),
    ):
        jupyter = jupyter_in(home, key)
        server = run(found(home, key))
        assert (server.secure, server.asks_password_only) == (True, True)
        assert "token" not in jupyter.url(server, 8888, token=True)
        answer = run(jupyter.probe(home.connect(), server, timeout_s=20))
        assert answer.version == server.version
        assert (answer.kernels, answer.busy, answer.last_activity) == (None, None, None)
        assert run(jupyter.busy(home.connect(), server)) is None
