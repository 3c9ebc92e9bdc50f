"""The scripts for the remote, run by shells that may be its /bin/sh, without SSH and without a Jupyter."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
from typing import Final

from jtunnel.address import TcpAddress
from jtunnel.remote import CommandResult
from jtunnel.service.launch import RESET
from jtunnel.service.record import Record, record_tail
from jtunnel.service.script import Kind, Report, compose, read_report
from jtunnel.service.server import Server
from tests.support.local_remote import RemoteHome
from tests.support.programs import find_program

NODE: Final = os.uname().nodename
_SHELLS: Final = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
SHELL_NAMES: Final = tuple(_SHELLS)


def shell_command(name: str) -> list[str]:
    """The command line of a shell."""
    program, *rest = _SHELLS[name]
    return [find_program(program), *rest]


def run(
    shell: list[str],
    home: RemoteHome,
    name: str,
    key: str,
    kind: Kind = "service",
    before: str = "",
    **variables: str | int,
) -> Report:
    """Run a script by a shell on standard input, as sshd would, with some lines before its `main`."""
    nonce = secrets.token_hex(8)
    text = compose(name, nonce, {"key": key, **variables}, kind)
    begin = f"printf '\\n%s\\n' begin-{nonce}"
    done = subprocess.run(
        [*shell, "-s"],
        input=text.replace(begin, f"{before}\n{begin}", 1),
        env=home.env,
        cwd=home.path if os.path.isdir(home.path) else "/",
        capture_output=True,
        text=True,
        timeout=60,
    )
    return read_report(CommandResult(done.returncode, done.stdout, done.stderr), nonce)


def launch_values(home: str, program: str) -> dict[str, str]:
    """What launch.sh expects, to start `program` with one argument."""
    server = Server(TcpAddress("127.0.0.1", 1), "/", "", 0, "", NODE, None, home, "started")
    return {
        "arguments": shlex.join([program, "it's an $argument"]),
        "environment_name": "none.env",
        "interpreter": find_program("python3"),
        "reset": RESET,
        "root": home,
        "token": "0123456789abcdef",
        "token_name": "JUPYTER_TOKEN_FILE",
        "content": record_tail(Record(server, "x", ready=False)),
        "passed_over": "",
        "here": "",
    }


def launch(
    shell: list[str],
    home: RemoteHome,
    key: str,
    program: str,
    kind: Kind = "service",
    before: str = "",
    **variables: str,
) -> Report:
    """Start `program` by launch.sh."""
    return run(shell, home, "launch", key, kind, before, **{**launch_values(home.path, program), **variables})


def stop(
    shell: list[str], home: RemoteHome, key: str, report: Report, kind: Kind = "service", **variables: str
) -> Report:
    """End what was launched."""
    pid, started = (report.one("launched") or "").split(" ")
    values = {
        "pid": pid,
        "started": started,
        "host": NODE,
        "sock": "",
        "needle": "",
        "grace": "0",
        "group": "",
    }
    return run(shell, home, "stop", key, kind, **{**values, **variables})
