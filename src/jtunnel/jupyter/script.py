"""Runs one of our shell scripts on the remote and reads its report; knows nothing of what they say.

A script travels on standard input, so that nothing of it is in a program's arguments and the login
shell reads only one quoted line. Its report stands between random marks: whatever start-up files print
around it is dropped; where they read the script's beginning, nothing of it runs.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shlex
from dataclasses import dataclass
from importlib import resources
from typing import Final

from jtunnel.errors import ChannelError, ServerError
from jtunnel.remote import CommandResult, Remote

#: Lines for start-up files that read standard input, and the line after which the script begins.
PREAMBLE: Final = "\n" * 64 + "jtunnel\n"
#: Reads the preamble byte by byte, as read(1p) must, and leaves the script to the shell that follows.
#: Any login shell can pass it on in single quotes: there is no quote, `!`, backslash or line end in it.
_DOOR: Final = (
    'while read -r jtunnel_line; do case $jtunnel_line in "") ;; jtunnel) exec /bin/sh -s ;; *) break ;; '
    "esac; done; echo; echo begin-{nonce}; echo eaten; echo; echo end-{nonce}"
)


@dataclass(frozen=True, slots=True)
class Report:
    """What a script said: lines of a word and a text."""

    lines: tuple[tuple[str, str], ...]

    def all(self, word: str) -> list[str]:
        """The texts of all lines that begin with `word`."""
        return [text for first, text in self.lines if first == word]

    def one(self, word: str) -> str | None:
        """The text of the first line that begins with `word`."""
        return next(iter(self.all(word)), None)

    def data(self, word: str) -> bytes | None:
        """The same for a text of hexadecimal digits; None where it is none."""
        try:
            return None if (text := self.one(word)) is None else bytes.fromhex(text)
        except ValueError:
            return None


async def run_script(
    remote: Remote, name: str, key: str, *, timeout_s: float, **variables: str | int
) -> Report:
    """Run `scripts/NAME.sh` with these shell variables set, `key` (the profile's name) among them.

    Raises ChannelError (`connection-lost` also where the remote did not finish, or not in time) and
    ServerError (`jupyter-failed`) where the account runs no commands, or not as they were sent.
    """
    nonce = secrets.token_hex(8)
    text = PREAMBLE + compose(name, nonce, {"key": file_name(key), **variables})
    command = f"exec /bin/sh -c '{door(nonce)}'"
    try:
        result = await remote.run(command, stdin=text, timeout_s=timeout_s, until=f"end-{nonce}")
    except TimeoutError:
        raise ChannelError(
            "connection-lost",
            f"the remote did not finish a command within {timeout_s:.0f} s",
            "it is tried again; a slow home directory or shell start-up file may be the cause",
        ) from None
    return read_report(result, nonce)


def door(nonce: str) -> str:
    """What reads standard input first: it lets a script run only if its beginning is there, or says so."""
    return _DOOR.format(nonce=nonce)


def compose(name: str, nonce: str, variables: dict[str, str | int]) -> str:
    """The text to run: variables (never exported), the common part, the script, its report marked."""
    scripts = resources.files(__package__) / "scripts"
    # A variable of that name that came with the environment would be exported to the server we start.
    assignments = [f"unset {word}; {word}={shlex.quote(str(value))}" for word, value in variables.items()]
    return "\n".join(
        [
            *assignments,
            (scripts / "common.sh").read_text(encoding="utf-8"),
            (scripts / f"{name}.sh").read_text(encoding="utf-8"),
            f"printf '\\n%s\\n' begin-{nonce}",
            "main </dev/null",
            f"printf '\\n%s\\n' end-{nonce}",
            "",
        ]
    )


def read_report(result: CommandResult, nonce: str) -> Report:
    """Take the report out of a command's output. Raises what `run_script` does."""
    _, begin, rest = result.stdout.partition(f"\nbegin-{nonce}\n")
    body, end, _ = rest.partition(f"\nend-{nonce}\n")
    killed = result.exit_status is None or result.exit_status < 0
    if not end and (begin or killed):
        raise ChannelError(
            "connection-lost", "a command on the remote was cut short", "it is tried again by itself"
        )
    if not end:
        said = next((line for line in (result.stdout + result.stderr).splitlines() if line.strip()), "")
        raise ServerError(
            "jupyter-failed",
            "the account runs no shell commands" + (f"; it said: {said.strip()[:200]}" if said else ""),
            "try `ssh HOST /bin/sh -c true`; the login shell or its start-up files may get in the way",
        )
    pairs = (line.partition(" ") for line in body.split("\n"))
    report = Report(tuple((word, text) for word, _, text in pairs if word))
    if report.one("eaten") is not None:
        raise ServerError(
            "jupyter-failed",
            "a start-up file of the account reads standard input, where the commands of jtunnel come from",
            "let it do that in interactive shells only (bash: `[[ $- == *i* ]] || return` above that line)",
        )
    return report


def file_name(key: str) -> str:
    """A profile's name as part of a file name: short, without slashes, different for different names."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}", key):
        return key
    return "%" + hashlib.sha256(key.encode()).hexdigest()[:32]
