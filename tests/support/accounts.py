"""Accounts to log in to: a new system user (root only), or this one with a home of its own.

A session as this same user gets its home through sshd's SetEnv; only its working directory, which sshd takes
from the account, is still the real home.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import psutil

from tests.support import processes

COMMAND_TIMEOUT_S = 30
_PREFIX = "jtt"
_LOCK = "/run/jtunnel-tests.lock"
_SHARED_DIRECTORIES = ("/tmp", "/var/tmp", "/dev/shm")


@dataclass(frozen=True, slots=True)
class Account:
    """Someone to log in as; `session_env` is what sshd has to set for them."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    session_env: Mapping[str, str] = field(default_factory=dict)
    password: str | None = field(default=None, repr=False)

    def path(self, relative: str) -> str:
        """A path below the account's home."""
        return os.path.join(self.home, relative)

    def write(self, relative: str, text: str, *, mode: int = 0o644, append: bool = False) -> str:
        """Write a file below the home, owned by the account, and its directories; the answer is its path."""
        path = self.path(relative)
        missing = []
        directory = os.path.dirname(path)
        while not os.path.isdir(directory):
            missing.append(directory)
            directory = os.path.dirname(directory)
        for made in reversed(missing):
            os.mkdir(made)
            os.chown(made, self.uid, self.gid)
        with open(path, "a" if append else "w") as file:
            os.fchmod(file.fileno(), mode)
            os.fchown(file.fileno(), self.uid, self.gid)
            file.write(text)
        return path

    def put_on_path(self, directory: str, file: str = ".profile", *, first: bool = False) -> None:
        """Let a start-up file of the account's shell put `directory` on PATH.

        `first` puts it above what is there, such as Debian's guard in .bashrc, which ends the file for
        shells that are not interactive.
        """
        if file in {".cshrc", ".tcshrc", ".login"}:
            line = f"setenv PATH {directory}:${{PATH}}\n"
        elif file.endswith(".fish"):
            line = f"set -gx PATH {directory} $PATH\n"
        else:
            line = f"export PATH={directory}:$PATH\n"
        try:
            with open(self.path(file)) as existing:
                before = existing.read()
        except FileNotFoundError:
            before = ""
        self.write(file, line + before if first else f"{before}\n{line}")

    def processes(self) -> list[psutil.Process]:
        """What runs as this account."""
        return processes.running_as(self.uid)


def current_account(home: str) -> Account:
    """This account, whose sessions shall have `home` as their home."""
    entry = pwd.getpwuid(os.getuid())
    return Account(
        entry.pw_name, entry.pw_uid, entry.pw_gid, home, entry.pw_shell, session_env={"HOME": home}
    )


@contextlib.contextmanager
def new_account(shell: str = "/bin/bash", home_suffix: str = "") -> Iterator[Account]:
    """A new system user with a password, removed with its processes and files. Needs root.

    The home directory's name is the user's, with `home_suffix` after it.
    """
    name = _PREFIX + secrets.token_hex(4)
    password = secrets.token_hex(12)
    me = psutil.Process()
    with _user_database():
        _remove_abandoned()
        made_for = f"jtunnel test {me.pid} {me.create_time()}"
        _run("useradd", "-m", "-d", f"/home/{name}{home_suffix}", "-s", shell, "-c", made_for, name)
        try:
            # Without PAM, sshd refuses an account that has no password.
            _run("chpasswd", stdin=f"{name}:{password}\n")
        except BaseException:
            _remove(name)
            raise
    entry = pwd.getpwnam(name)
    try:
        yield Account(name, entry.pw_uid, entry.pw_gid, entry.pw_dir, shell, password=password)
    finally:
        with _user_database():
            _remove(name)


@contextlib.contextmanager
def _user_database() -> Iterator[None]:
    """One test run at a time: useradd gives up where another holds the lock of /etc/passwd."""
    with open(_LOCK, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove(name: str) -> None:
    """End what the user runs, then remove user, home and what it left in shared directories."""
    uid = pwd.getpwnam(name).pw_uid
    while running := processes.running_as(uid):
        processes.kill(running)
    for directory in _SHARED_DIRECTORIES:
        for entry in os.scandir(directory) if os.path.isdir(directory) else ():
            with contextlib.suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_uid != uid:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)
    _run("userdel", "-r", name)


def _remove_abandoned() -> None:
    """Remove the users of test runs that were killed before they could."""
    for entry in pwd.getpwall():
        if not entry.pw_name.startswith(_PREFIX) or not entry.pw_gecos.startswith("jtunnel test "):
            continue
        pid, started_at = entry.pw_gecos.split()[-2:]
        try:
            alive = psutil.Process(int(pid)).create_time() == float(started_at)
        except psutil.NoSuchProcess:
            alive = False
        if not alive:
            _remove(entry.pw_name)


def _run(*command: str, stdin: str = "") -> None:
    ended = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
    if ended.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {ended.stderr.strip()}")
