"""Hosts whose Jupyter is old: JupyterLab 3 on jupyter_server 1.24, and classic notebook 6.5 without a lab."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from tests.support import processes
from tests.support.accounts import Account
from tests.support.keys import Key
from tests.support.laptop import NAME, Laptop, new_laptop, remote_account

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Old:
    """What an old Jupyter is known by."""

    fixture: str
    version: str
    page: str
    runtime_file: str
    trait: str
    command: str


LAB_3 = Old("lab3_bin", "1.24.0", "/lab", "jpserver", "ServerApp.root_dir", "jupyter lab --no-browser")
NOTEBOOK_6 = Old(
    "notebook6_bin", "6.5.7", "/tree", "nbserver", "NotebookApp.notebook_dir", "jupyter notebook --no-browser"
)


@pytest.fixture(scope="module", params=[LAB_3, NOTEBOOK_6], ids=["lab3", "notebook6"])
def old(request: pytest.FixtureRequest) -> Old:
    """One old Jupyter after the other."""
    kind: Old = request.param
    return kind


@pytest.fixture(scope="module")
def old_account() -> Iterator[Account]:
    """Someone to log in as, who has an old Jupyter."""
    with remote_account() as made:
        yield made


@pytest.fixture
def laptop(
    old: Old, old_account: Account, host_key: Key, client_key: Key, request: pytest.FixtureRequest
) -> Iterator[Laptop]:
    """A laptop that has never been there."""
    with new_laptop(old_account, host_key, client_key, path=request.getfixturevalue(old.fixture)) as met:
        yield met


def check_it_computes(laptop: Laptop) -> None:
    jupyter = laptop.jupyter()
    kernel = jupyter.begin_kernel()
    assert jupyter.run(kernel, "1+1") == "2"
    jupyter.end_kernel(kernel)


def test_it_is_started_used_found_again_and_stopped(old: Old, laptop: Laptop, old_account: Account) -> None:
    found = laptop.up()
    assert found["pid"] is not None
    process = psutil.Process(found["pid"])
    assert process.uids().real == old_account.uid
    assert any(word.startswith(f"--{old.trait}=") for word in process.cmdline()), process.cmdline()
    assert (found["state"], found["origin"], found["version"]) == ("ready", "started", old.version)
    assert (found["host"], found["root_dir"]) == (os.uname().nodename, old_account.home)
    (forward,) = laptop.tunnel()["forwards"]
    port = forward["listen"].rpartition(":")[2]
    assert found["url"] == f"http://localhost:{port}{old.page}"
    target = found["target"]
    assert target is not None
    assert target.startswith(f"unix:/tmp/jtunnel-{old_account.uid}/")
    runtime = old_account.path(f".local/share/jupyter/runtime/{old.runtime_file}-{found['pid']}.json")
    with open(runtime) as file:
        assert json.load(file)["token"] == laptop.jupyter().token
    assert laptop.jupyter().status_code(old.page) == 200
    assert laptop.jupyter().status_code("/api/status", token="") == 403
    check_it_computes(laptop)

    laptop.jtunnel.check("down", NAME)
    again = laptop.up()
    assert (again["pid"], again["origin"], again["kernels"]) == (found["pid"], "started", 0)

    laptop.jtunnel.check("stop", NAME)
    assert not processes.is_live(process)
    assert not os.path.exists(target.removeprefix("unix:"))
    assert not os.path.exists(runtime)


def test_one_that_was_started_by_hand_is_adopted(old: Old, laptop: Laptop, old_account: Account) -> None:
    laptop.configure({"start": "never"})
    pid = laptop.start_by_hand(old.command)
    found = laptop.up()
    assert (found["pid"], found["origin"], found["version"]) == (pid, "adopted", old.version)
    assert found["root_dir"] == old_account.home
    assert found["url"] is not None
    assert found["url"].endswith(old.page)
    check_it_computes(laptop)
    process = psutil.Process(pid)
    laptop.jtunnel.check("stop", NAME)
    assert not processes.is_live(process)
