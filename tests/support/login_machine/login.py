"""People with accounts in the machine, who log in by ssh and stay until they log out."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from tests.support.keys import Key, make_key
from tests.support.login_machine.machine import COMMAND_TIMEOUT_S, SHARED, LoginMachine

#: Seconds for which a connection is kept whose last command has ended: longer than any test.
_STAY_S: Final = 3600
#: Not those of this system's accounts: tests that remove one of them end whatever runs with its number.
_UIDS: Final = (20_000, 20_999)


@dataclass(frozen=True, slots=True)
class Person:
    """An account of a machine; `Login` has a key to it."""

    machine: LoginMachine
    name: str
    uid: int

    @property
    def home(self) -> str:
        """Their home, as the machine sees it."""
        return f"/home/{self.name}"

    def write(self, relative: str, text: str, *, mode: str = "600") -> str:
        """Write a file below their home, and its directories; the answer is its path."""
        path = os.path.join(self.home, relative)
        writing = 'mkdir -p -m 700 "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
        self.without_session("sh", "-c", writing, "sh", path, mode, stdin=text)
        return path

    def without_session(self, *command: str, stdin: str = "") -> str:
        """Run a command that has to succeed as this person, who need not be logged in: as cron does."""
        ended = self.try_without_session(*command, stdin=stdin)
        assert ended.returncode == 0, f"{shlex.join(command)} fails: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def try_without_session(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """The same; any exit code is an answer."""
        becoming = ("setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups")
        environ = {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}
        return self.machine.try_run(*becoming, *command, stdin=stdin, environ=environ)

    def authorize(self, key: Key) -> None:
        """Let one more key log in."""
        path = os.path.join(self.home, ".ssh/authorized_keys")
        self.without_session("tee", "--append", path, stdin=f"{key.public}\n")

    def journal(self) -> str:
        """What this person's programs and user manager have said since boot."""
        return self.machine.journal(f"_UID={self.uid}")

    def wait_gone(self) -> None:
        """Block until nothing of theirs runs, the user manager neither."""
        self.machine.wait_for(f"! pgrep -u {self.uid} >/dev/null")


def add_person(machine: LoginMachine, name: str) -> Person:
    """Make an account, and the key that logs in to it."""
    numbers = [f"-K{kind}_{end}" for kind in ("UID", "GID") for end in (f"MIN={_UIDS[0]}", f"MAX={_UIDS[1]}")]
    machine.run("useradd", "--create-home", "--shell", "/bin/bash", "--user-group", *numbers, name)
    # sshd lets nobody in whose account is locked.
    machine.run("usermod", "--password", "*", name)
    uid = int(machine.run("id", "--user", name))
    person = Person(machine, name, uid)
    key = make_key(machine.shared, f"login-{name}")
    person.write(".ssh/authorized_keys", f"{key.public}\n")
    return person


class Login:
    """A session of a person's: begins with `with`, ends with `logout` or the block."""

    def __init__(self, person: Person) -> None:
        self.person = person
        # Never one that was there before: its connection may be about to end.
        self._control = f"/run/login-{person.name}-{secrets.token_hex(4)}"
        self._is_in = False

    def __enter__(self) -> Self:
        self._ssh(f"-oControlPersist={_STAY_S}", "-M", self._where, "true")
        self._is_in = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.logout()

    def logout(self) -> None:
        """Log out; returns at once, whatever ends by it."""
        if self._is_in:
            self._is_in = False
            self._ssh("-O", "exit", self._where)

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a command that has to succeed; the answer is its standard output."""
        ended = self.try_run(*command, stdin=stdin)
        assert ended.returncode == 0, (
            f"{shlex.join(command)} exits {ended.returncode}: {ended.stdout}{ended.stderr}\n{self.journal()}"
        )
        return ended.stdout

    def try_run(
        self, *command: str, stdin: str = "", timeout_s: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; any exit code is an answer."""
        assert self._is_in, "logged out"
        remote = self._command(self._where, shlex.join(command))
        return self.person.machine.try_run(*remote, stdin=stdin, timeout_s=timeout_s)

    def wait_for(self, question: str, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        """Block until a shell's test succeeds in this session, asked again and again."""
        asking = f"until {question}; do sleep 0.1; done"
        ended = self.try_run("timeout", str(timeout_s), "bash", "-c", asking, timeout_s=2 * timeout_s)
        assert ended.returncode == 0, (
            f"after {timeout_s} s still not: {question}: {ended.stdout}{ended.stderr}\n{self.journal()}"
        )

    def journal(self) -> str:
        """See `Person.journal`."""
        return self.person.journal()

    @property
    def _where(self) -> str:
        return f"{self.person.name}@127.0.0.1"

    def _ssh(self, *words: str) -> None:
        ended = self.person.machine.try_run(*self._command(*words))
        assert ended.returncode == 0, f"ssh {shlex.join(words)}: {ended.stderr}\n{self.journal()}"

    def _command(self, *words: str) -> list[str]:
        options = ["-F", "none", "-i", f"{SHARED}/login-{self.person.name}", "-S", self._control]
        options += ["-oBatchMode=yes", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"]
        return ["ssh", "-q", *options, *words]
