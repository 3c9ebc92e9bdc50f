"""Another user of the node tries to get in: he sees what `ps` and /proc show all, and reads what he may.

The configs are those that would let him in if a start did not override them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from jtunnel.address import UnixAddress
from jtunnel.config.profile import JupyterOptions
from jtunnel.jupyter.jupyter import Jupyter
from jtunnel.service.http import request
from jtunnel.service.server import Server
from tests.support import processes
from tests.support.accounts import Account, new_account
from tests.support.home import SYSTEM_PATH
from tests.support.local_remote import LocalRemote, new_key, run

pytestmark = [pytest.mark.root, pytest.mark.long]

OPEN_TO_ALL: Final = """
c.{part}.ip = '*'
c.{part}.token = ''
c.{part}.password = ''
c.{part}.port = 1008
"""
#: Runs as the other user: what could be a token, and what answers to him.
ATTACK: Final = r"""
import glob, json, re, socket, subprocess, sys, urllib.error, urllib.request
uid, home, kind, place = sys.argv[1:]
texts = [subprocess.run(["ps", "-e", "-ww", "-o", "args"], capture_output=True, text=True).stdout]
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
    try:
        texts.append(open(path, errors="replace").read())
    except OSError:
        pass
texts.append(subprocess.run(
    ["find", f"/tmp/jtunnel-{uid}", home, "-type", "f", "-readable", "-exec", "cat", "{}", "+"],
    capture_output=True, text=True, errors="replace").stdout)
tokens = sorted(set(re.findall(r"[0-9a-f]{32,}", "\n".join(texts))))
answers = {}
if kind == "socket":
    try:
        socket.socket(socket.AF_UNIX).connect(place)
        answers["connect"] = "connected"
    except OSError as error:
        answers["connect"] = type(error).__name__
else:
    for token in [None, "", *tokens]:
        question = urllib.request.Request(f"http://127.0.0.1:{place}/api/status")
        if token is not None:
            question.add_header("Authorization", f"token {token}")
        try:
            answers[str(token)] = urllib.request.urlopen(question, timeout=20).status
        except urllib.error.HTTPError as error:
            answers[str(token)] = error.code
print(json.dumps({"tokens": tokens, "answers": answers}))
"""


@dataclass(frozen=True, slots=True)
class Victim:
    """An account with a server of its own that jtunnel started; `remote` is a connection to it."""

    account: Account
    remote: LocalRemote
    key: str
    server: Server


@pytest.fixture(scope="module")
def attacker() -> Iterator[Account]:
    with new_account() as account:
        yield account


CASES: Final = {
    "socket": ("jupyter_bin", "ServerApp", "jupyter_server_config.py", JupyterOptions()),
    "port": ("jupyter_bin", "IdentityProvider", "jupyter_lab_config.py", JupyterOptions(listen="tcp")),
    "lab 3": ("lab3_bin", "ServerApp", "jupyter_lab_config.py", JupyterOptions(listen="tcp")),
    "notebook 6": (
        "notebook6_bin",
        "NotebookApp",
        "jupyter_notebook_config.py",
        JupyterOptions(listen="tcp", command="jupyter notebook"),
    ),
}


@pytest.fixture(scope="module")
def victims(request: pytest.FixtureRequest) -> Iterator[dict[str, Victim]]:
    """One for each case, all started at once."""

    async def start_all() -> dict[str, Victim]:
        async with asyncio.TaskGroup() as group:
            starts = {case: group.create_task(start(account, request, case)) for case, account in accounts}
        return {case: task.result() for case, task in starts.items()}

    with contextlib.ExitStack() as stack:
        accounts = [(case, stack.enter_context(new_account())) for case in CASES]
        yield run(start_all())


async def start(account: Account, request: pytest.FixtureRequest, case: str) -> Victim:
    """Somebody whose home and old runtime directory are open to read, and whose config is to all."""
    binaries, part, file, options = CASES[case]
    os.chmod(account.home, 0o755)
    account.write(f".jupyter/{file}", OPEN_TO_ALL.format(part=part))
    account.write(".local/share/jupyter/runtime/old", "", mode=0o644)
    os.chmod(account.path(".local/share/jupyter/runtime"), 0o755)
    remote = log_in(account, request.getfixturevalue(binaries))
    key = new_key()
    return Victim(account, remote, key, await Jupyter(options, key).start(remote))


def log_in(account: Account, binaries: str) -> LocalRemote:
    """Sessions of that account."""
    become = f"exec setpriv --reuid={account.uid} --regid={account.gid} --clear-groups"
    shell = account.write(".become", f'#!/bin/sh\nexport SHELL=/bin/sh\n{become} /bin/sh "$@"\n', mode=0o755)
    return LocalRemote(
        {
            "HOME": account.home,
            "PATH": f"{binaries}:{SYSTEM_PATH}",
            "SHELL": shell,
            "LANG": "C.UTF-8",
            processes.MARK: os.environ[processes.MARK],
        }
    )


def attack(attacker: Account, victim: Victim) -> dict[str, Any]:
    """What the other user finds, and what he is answered."""
    target = victim.server.target
    place = ("socket", target.path) if isinstance(target, UnixAddress) else ("port", str(target.port))
    become = ["setpriv", f"--reuid={attacker.uid}", f"--regid={attacker.gid}", "--clear-groups"]
    done = subprocess.run(
        [*become, "/usr/bin/python3", "-c", ATTACK, str(victim.account.uid), victim.account.home, *place],
        env={"HOME": attacker.home, "PATH": SYSTEM_PATH},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("case", CASES)
def test_another_user_cannot_get_in(victims: dict[str, Victim], attacker: Account, case: str) -> None:
    """Neither can he connect to the socket, nor does a port answer him; the token is nowhere to be read."""
    victim = victims[case]
    server = victim.server
    assert len(server.token) >= 32
    found = attack(attacker, victim)
    assert server.token not in found["tokens"]
    if isinstance(server.target, UnixAddress):
        assert found["answers"] == {"connect": "PermissionError"}
    else:
        assert server.target.host == "127.0.0.1"
        assert set(found["answers"].values()) == {403}
    # He whose server it is gets in, and by the token alone.
    path = f"{server.base_url}api/status"
    answer = run(request(victim.remote, server.target, "GET", path, token=server.token, timeout_s=20))
    assert answer.status == 200
    anybody = run(request(victim.remote, server.target, "GET", path, timeout_s=20))
    assert anybody.status == 403
    run(Jupyter(JupyterOptions(), victim.key).stop(victim.remote, server))
    assert not victim.account.processes()
