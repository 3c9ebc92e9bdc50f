"""The fixtures that all tests share; what they hand out lives in tests/support."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping

import pytest

from tests.support.accounts import Account, current_account, new_account
from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.keys import Key, make_key
from tests.support.programs import find_program
from tests.support.ssh_server import FaultyServer
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer

pytest_plugins = ["tests.support.guard"]

JUPYTER_SETUP = os.path.join(os.path.dirname(__file__), "setup", "jupyter.sh")
JUPYTER_SETUP_TIMEOUT_S = 600


@pytest.fixture(scope="session")
def host_key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    """The key of the run's SSH servers."""
    return make_key(str(tmp_path_factory.mktemp("host-key")), "ssh_host_ed25519_key")


@pytest.fixture(scope="session")
def client_key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    """A key without passphrase to log in with."""
    return make_key(str(tmp_path_factory.mktemp("client-key")))


@pytest.fixture(scope="session")
def jupyter_bin(outer_environ: Mapping[str, str]) -> str:
    """The directory of a JupyterLab that every account can run; `make test` makes it beforehand."""
    return made_jupyter(outer_environ, "current", "JTUNNEL_TEST_JUPYTER_BIN")


@pytest.fixture(scope="session")
def lab3_bin(outer_environ: Mapping[str, str]) -> str:
    """That of a JupyterLab 3 with jupyter_server 1.24."""
    return made_jupyter(outer_environ, "lab3", "JTUNNEL_TEST_LAB3_BIN")


@pytest.fixture(scope="session")
def notebook6_bin(outer_environ: Mapping[str, str]) -> str:
    """That of a classic notebook 6.5, without any lab."""
    return made_jupyter(outer_environ, "notebook6", "JTUNNEL_TEST_NOTEBOOK6_BIN")


def made_jupyter(environ: Mapping[str, str], kind: str, given: str) -> str:
    """The bin directory that the variable `given` names, else that of the kept one, made if need be."""
    if directory := environ.get(given):
        return directory
    made = subprocess.run(
        ["sh", JUPYTER_SETUP, kind],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=JUPYTER_SETUP_TIMEOUT_S,
    )
    return made.stdout.strip()


@pytest.fixture
def home() -> Iterator[Home]:
    """A home of the test's own, with an environment for what it starts."""
    made = Home()
    yield made
    made.remove()


@pytest.fixture
def remote_user() -> Iterator[Account]:
    """A new system user to log in as; the test needs root."""
    find_program("useradd")
    with new_account() as account:
        yield account


@pytest.fixture
def account(request: pytest.FixtureRequest) -> Iterator[Account]:
    """Someone to log in as: another user with root, this one with a private home without."""
    if os.geteuid() == 0:
        yield request.getfixturevalue("remote_user")
    else:
        remote_home = Home()
        yield current_account(remote_home.path)
        remote_home.remove()


@pytest.fixture
def sshd(host_key: Key, client_key: Key, account: Account) -> Iterator[Sshd]:
    """A running sshd that lets `client_key` log in as `account`."""
    with Sshd(host_key, account, authorized=[client_key]) as server:
        yield server


@pytest.fixture
def box(home: Home, sshd: Sshd, account: Account, client_key: Key, host_key: Key) -> Sshd:
    """That sshd, which ~/.ssh/config calls `box` and known_hosts knows."""
    home.add_host("box", port=sshd.port, user=account.name, identity=client_key, host_key=host_key)
    return sshd


@pytest.fixture
def faulty(home: Home, client_key: Key, host_key: Key) -> Iterator[FaultyServer]:
    """A server that ~/.ssh/config calls `box`; it does what it should until it is told otherwise."""
    with FaultyServer(host_key, authorized=[client_key]) as server:
        home.add_host("box", port=server.port, user="me", identity=client_key, host_key=host_key)
        yield server


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    """A target for forwards: it sends back what it gets."""
    with EchoServer() as server:
        yield server


@pytest.fixture
def jtunnel(home: Home) -> Iterator[Jtunnel]:
    """The installed jtunnel in `home`; its daemon is gone at the end."""
    program = Jtunnel(home)
    yield program
    program.close()
