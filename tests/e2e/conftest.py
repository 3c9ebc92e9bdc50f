"""A remote account with one JupyterLab for the tests of a file; an sshd and a laptop for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jtunnel.status import JupyterStatus
from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.home import SYSTEM_PATH, Home
from tests.support.keys import Key
from tests.support.laptop import Laptop, remote_account
from tests.support.sshd import Sshd


@pytest.fixture(scope="module")
def lab_account() -> Iterator[Account]:
    """Someone to log in as, for all tests of a file."""
    with remote_account() as made:
        yield made


@pytest.fixture
def lab_sshd(host_key: Key, client_key: Key, lab_account: Account, jupyter_bin: str) -> Iterator[Sshd]:
    """An sshd whose sessions find `jupyter` on their PATH."""
    environ = {"PATH": f"{jupyter_bin}:{SYSTEM_PATH}"}
    with Sshd(host_key, lab_account, authorized=[client_key], env=environ) as server:
        yield server


@pytest.fixture(scope="module")
def lab_server(host_key: Key, client_key: Key, lab_account: Account, jupyter_bin: str) -> JupyterStatus:
    """The JupyterLab that another laptop started there; tests leave it as they found it."""
    home = Home()
    environ = {"PATH": f"{jupyter_bin}:{SYSTEM_PATH}"}
    try:
        with Sshd(host_key, lab_account, authorized=[client_key], env=environ) as sshd:
            jtunnel = Jtunnel(home)
            try:
                return Laptop(jtunnel, sshd, client_key).up()
            finally:
                jtunnel.close()
    finally:
        home.remove()


@pytest.fixture
def laptop(jtunnel: Jtunnel, lab_sshd: Sshd, client_key: Key) -> Laptop:
    """A laptop that has never been there."""
    return Laptop(jtunnel, lab_sshd, client_key)
