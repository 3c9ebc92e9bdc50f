"""Hosts whose accounts have another login shell than bash, and start-up files that are in the way.

Each Jupyter is found only by what such a file puts on the PATH; the rest of the account is like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import psutil
import pytest

from tests.support import processes
from tests.support.accounts import Account
from tests.support.keys import Key
from tests.support.laptop import NAME, Laptop, new_laptop, remote_account
from tests.support.programs import find_program

pytestmark = [pytest.mark.long, pytest.mark.root]

#: A home as some have it.
HOME_SUFFIX = " дом é"
NOISE = """
echo 'Welcome to the cluster! ─── quota: 12 %'
echo 'begin-0 end-0 {"pid": 1}' >&2
printf '\\033[31mred\\033[0m\\a\\000\\r\\b\\n'
yes 'noise' | head -c 100000
yes 'noise' | head -c 100000 >&2
"""


def check_it_works(laptop: Laptop) -> None:
    """Start and compute, over there and through the tunnel."""
    found = laptop.up()
    assert (found["origin"], found["root_dir"]) == ("started", laptop.sshd.account.home)
    jupyter = laptop.jupyter()
    assert jupyter.run(jupyter.begin_kernel(), "1+1") == "2"


def check_it_stays(laptop: Laptop) -> None:
    """Drop it, find it again and stop it."""
    pid = laptop.server()["pid"]
    laptop.jtunnel.check("down", NAME)
    assert laptop.up()["pid"] == pid
    process = psutil.Process(pid)
    laptop.jtunnel.check("stop", NAME, "--force")
    assert not processes.is_live(process)


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("zsh", ".zshrc"),
        ("dash", ".profile"),
        ("ksh", ".profile"),
        ("tcsh", ".login"),
        ("fish", ".config/fish/config.fish"),
    ],
)
def test_a_jupyter_that_only_this_shell_finds(
    shell: str, file: str, host_key: Key, client_key: Key, notebook6_bin: str
) -> None:
    with remote_account(find_program(shell), HOME_SUFFIX) as account:
        account.put_on_path(notebook6_bin, file)
        with new_laptop(account, host_key, client_key) as laptop:
            check_it_works(laptop)
            if shell in {"tcsh", "fish"}:
                check_it_stays(laptop)


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    """Someone with bash, whose start-up files the tests of this module write."""
    with remote_account("/bin/bash", HOME_SUFFIX) as made:
        yield made


@pytest.fixture
def laptop(account: Account, host_key: Key, client_key: Key) -> Iterator[Laptop]:
    """A laptop that has never been there; no server runs there afterwards."""
    with new_laptop(account, host_key, client_key) as met:
        yield met
    processes.kill(processes.running_with("HOME", account.home))


def write_files(account: Account, files: Mapping[str, str], directory: str) -> None:
    """Give the account these start-up files and no others; BIN in them is `directory`."""
    for name in (".bash_profile", ".bashrc", ".profile", ".zshenv", ".zshrc", ".config/fish/config.fish"):
        account.write(name, files.get(name, "").replace("BIN", directory))
    if ".bash_profile" not in files:
        account.write(".bash_profile", ". ~/.bashrc\n")


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({".bashrc": f"{NOISE}read -r line\nPATH=BIN:$PATH\n{NOISE}"}, id="noisy-and-reading"),
        pytest.param(
            {".bash_profile": "exec zsh -l\n", ".zshenv": "echo zsh\n", ".zshrc": "path=(BIN $path)\n"},
            id="exec-zsh-from-bash_profile",
        ),
        pytest.param(
            {
                ".bashrc": "case $- in *i*) exec fish;; esac\n",
                ".config/fish/config.fish": "set -gx PATH BIN $PATH\necho fish\n",
            },
            id="exec-fish-from-bashrc",
        ),
        pytest.param(
            {
                ".bashrc": "PATH=BIN:$PATH\nset -u\nno-such-program\nexport x='a\nb\"'\nif then fi ((\n",
                ".bash_profile": ". ~/.bashrc\nfalse\n",
            },
            id="failing",
        ),
        pytest.param({".bashrc": "PATH=BIN:$PATH\n", ".bash_profile": ". ~/.bashrc\nexit 1\n"}, id="exit"),
        pytest.param({".bashrc": "exec zsh\n", ".zshenv": "path=(BIN $path)\n"}, id="exec-zsh-always"),
    ],
)
def test_start_up_files_that_are_in_the_way(
    files: Mapping[str, str], laptop: Laptop, account: Account, notebook6_bin: str
) -> None:
    write_files(account, files, notebook6_bin)
    check_it_works(laptop)


def test_start_up_files_that_are_slow(laptop: Laptop, account: Account, notebook6_bin: str) -> None:
    """Nothing waits for each of them for ever; a server that is there is found in the time of `up`."""
    write_files(account, {".bashrc": "sleep 2\nPATH=BIN:$PATH\n"}, notebook6_bin)
    check_it_works(laptop)


def test_an_account_that_runs_no_commands(laptop: Laptop, account: Account, notebook6_bin: str) -> None:
    """A .bashrc that becomes another shell takes each command away, those of scp and git too."""
    write_files(account, {".bashrc": "exec fish\n"}, notebook6_bin)
    laptop.up_fails("jupyter-failed", "runs no shell commands", "start-up files")
    write_files(account, {".bashrc": "exit 1\n"}, notebook6_bin)
    laptop.up_fails("jupyter-failed", "runs no shell commands", "start-up files")


def test_a_start_up_file_that_never_ends(laptop: Laptop, account: Account, notebook6_bin: str) -> None:
    """It is tried again by itself, and said; once the file is mended, the tunnel comes up."""
    on_path = {".bash_profile": "PATH=BIN:$PATH\n"}
    write_files(account, {**on_path, ".bashrc": "sleep 1000\n"}, notebook6_bin)
    laptop.jtunnel.check("up", NAME, "--no-wait")
    found = laptop.jtunnel.wait_state(NAME, "retrying", 120)
    assert found["problem"] is not None
    assert "did not finish a command within" in found["problem"]["message"]
    assert "shell start-up file may be the cause" in found["problem"]["advice"]
    write_files(account, on_path, notebook6_bin)
    laptop.jtunnel.wait_state(NAME, "up", 120)
    assert laptop.jtunnel.tunnel(NAME)["problem"] is None
    laptop.jtunnel.check("stop", NAME, "--force")
