"""Hosts where Jupyter is in an environment: conda's, without conda; a module system's; a Python's."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from jtunnel.status import JupyterStatus
from tests.support import processes
from tests.support.accounts import Account
from tests.support.keys import Key
from tests.support.laptop import Laptop, new_laptop, remote_account
from tests.support.programs import find_program

pytestmark = [pytest.mark.long, pytest.mark.root]

#: What `module` comes from: a function for sh and its kin, and an alias for csh, which has no functions.
MODULE_SH = """
echo 'Lmod is here'
module() {
    [ "$1 $2" = "load jupyter/6" ] || { echo "Lmod: unknown module(s) $2" >&2; return 1; }
    echo "loading $2" >&2
    PATH=BIN:$PATH LOADEDMODULES=$2
    export PATH LOADEDMODULES
}
"""
MODULE_CSH = """
echo 'Lmod is here'
alias module 'echo loading \\!:2; setenv PATH BIN:${PATH}; setenv LOADEDMODULES \\!:2'
"""


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    """Someone with bash who has no Jupyter on the PATH."""
    with remote_account() as made:
        yield made


@pytest.fixture
def laptop(account: Account, host_key: Key, client_key: Key) -> Iterator[Laptop]:
    """A laptop that has never been there; no server runs there afterwards."""
    with new_laptop(account, host_key, client_key) as met:
        yield met
    processes.kill(processes.running_with("HOME", account.home))


def bring_up(laptop: Laptop, *, variable: str) -> tuple[JupyterStatus, str]:
    """Start it; the answer is what is known of the server, and a variable of its kernels' environment."""
    found = laptop.up()
    assert found["origin"] == "started"
    jupyter = laptop.jupyter()
    value = jupyter.run(jupyter.begin_kernel(), f"import os; print(os.environ.get({variable!r}))")
    return found, value.strip()


def make_conda_environment(account: Account, place: str, notebook6_bin: str) -> str:
    """What conda leaves of an environment, as far as a server needs it; the answer is its directory."""
    account.write(f"{place}/conda-meta/history", "")
    for program in ("python", "jupyter"):
        text = f'#!/bin/sh\nexec {notebook6_bin}/{program} "$@"\n'
        account.write(f"{place}/bin/{program}", text, mode=0o755)
    return account.path(place)


def test_a_conda_environment_without_conda(laptop: Laptop, account: Account, notebook6_bin: str) -> None:
    directory = make_conda_environment(account, "my software/miniforge3/envs/torch", notebook6_bin)
    account.write(".conda/environments.txt", f"{directory}\n")
    laptop.configure({"conda_env": "torch", "env": {"CUDA_VISIBLE_DEVICES": "0, $HOME 'x'"}})
    found, value = bring_up(laptop, variable="CUDA_VISIBLE_DEVICES")
    assert value == "0, $HOME 'x'"
    assert found["environment"] == directory
    jupyter = laptop.jupyter()
    assert (
        jupyter.run(jupyter.begin_kernel(), "import os; print(os.environ['CONDA_PREFIX'])").strip()
        == directory
    )


def test_a_module_in_bash(laptop: Laptop, account: Account, notebook6_bin: str) -> None:
    account.write(".bashrc", MODULE_SH.replace("BIN", notebook6_bin))
    laptop.configure({"setup": ["module load jupyter/6"]})
    assert bring_up(laptop, variable="LOADEDMODULES")[1] == "jupyter/6"


def test_a_module_that_is_not_there(laptop: Laptop, account: Account, notebook6_bin: str) -> None:
    account.write(".bashrc", MODULE_SH.replace("BIN", notebook6_bin))
    laptop.configure({"setup": ["module load jupyter/7"]})
    laptop.up_fails("jupyter-failed", "module load jupyter/7", "unknown module(s) jupyter/7")


def test_a_module_in_tcsh(host_key: Key, client_key: Key, notebook6_bin: str) -> None:
    with remote_account(find_program("tcsh")) as account:
        account.write(".cshrc", MODULE_CSH.replace("BIN", notebook6_bin))
        with new_laptop(account, host_key, client_key) as laptop:
            laptop.configure({"setup": ["module load jupyter/6"]})
            assert bring_up(laptop, variable="LOADEDMODULES")[1] == "jupyter/6"


def test_a_python_by_its_path(laptop: Laptop, notebook6_bin: str) -> None:
    """It has no JupyterLab, and brings what it has."""
    laptop.configure({"python": os.path.join(notebook6_bin, "python")})
    found, _ = bring_up(laptop, variable="HOME")
    assert found["version"] == "6.5.7"
    assert found["environment"] == os.path.dirname(notebook6_bin)


def test_environments_that_are_not_there(laptop: Laptop, account: Account) -> None:
    for options, word in (
        ({"conda_env": "nowhere"}, "nowhere"),
        ({"venv": "~/venvs/none"}, account.path("venvs/none")),
        ({"python": "/opt/none/bin/python"}, "/opt/none/bin/python"),
    ):
        laptop.configure(options)
        laptop.jtunnel.run("reload")
        laptop.up_fails("jupyter-missing", word, "[profiles.gpu.jupyter]")
