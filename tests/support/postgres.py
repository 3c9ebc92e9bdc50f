"""A PostgreSQL server of the test's own, on a Unix socket alone; tests/setup/system.sh installs it."""

from __future__ import annotations

import contextlib
import glob
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.support import processes
from tests.support.accounts import Account
from tests.support.process_log import ProcessLog, end_line

START_TIMEOUT_S = 30.0
USER = "me"


@contextlib.contextmanager
def postgres(account: Account) -> Iterator[str]:
    """A server that runs as `account` and lets everybody in as USER; the value is its socket's path."""
    programs = _find_programs()
    directory = account.path("db")
    _run_as(
        account, os.path.join(programs, "initdb"), "-D", directory, "-U", USER, "-A", "trust", "--no-sync"
    )
    log = ProcessLog()
    server = subprocess.Popen(
        [os.path.join(programs, "postgres"), "-D", directory, "-k", account.home, "-F", "-h", ""],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **_identity(account),  # type: ignore[call-overload]
    )
    try:
        log.follow(server.stderr, server.pid)
        started = log.wait_for(rf"ready to accept connections|{end_line(server.pid)}", START_TIMEOUT_S)
        assert "ready" in started, log.tail()
        yield account.path(".s.PGSQL.5432")
    finally:
        server.send_signal(signal.SIGINT)  # do not wait for clients
        server.wait(START_TIMEOUT_S)
        log.join()


def _find_programs() -> str:
    """Debian keeps a server's programs off the PATH, each version's in a place of its own."""
    for directory in (*sorted(glob.glob("/usr/lib/postgresql/*/bin")), "/usr/local/bin", "/usr/bin"):
        if os.path.exists(os.path.join(directory, "initdb")):
            return directory
    pytest.skip("not installed: postgresql (see tests/setup/system.sh)")


def _run_as(account: Account, *command: str) -> None:
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        timeout=START_TIMEOUT_S,
        **_identity(account),  # type: ignore[call-overload]
    )


def _identity(account: Account) -> dict[str, object]:
    env = {
        "HOME": account.home,
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C",
        processes.MARK: os.environ[processes.MARK],
    }
    if os.geteuid() != 0:
        return {"env": env}
    return {"env": env, "user": account.uid, "group": account.gid, "extra_groups": [], "cwd": account.home}
