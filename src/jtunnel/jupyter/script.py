"""Runs one of our shell scripts on the remote and reads its report; knows nothing of what they say.

A script travels on standard input, so that nothing of it is in a program's arguments and the login
shell reads only `exec /bin/sh -s`. Its report stands between random marks: whatever rc files print
around it is dropped.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shlex
from dataclasses import dataclass
from importlib import resources

from jtunnel.errors import ChannelError, ServerError
from jtunnel.remote import CommandResult, Remote


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

    Raises ChannelError (`connection-lost` also where the remote did not finish in time) and
    ServerError (`jupyter-failed`) where the account runs no commands.
    """
    nonce = secrets.token_hex(8)
    text = compose(name, nonce, {"key": file_name(key), **variables})
    try:
        result = await remote.run("exec /bin/sh -s", stdin=text, timeout_s=timeout_s)
    except TimeoutError:
        raise ChannelError(
            "connection-lost",
            f"the remote did not finish a command within {timeout_s:.0f} s",
            "it is tried again; a slow home directory or shell start-up file may be the cause",
        ) from None
    return read_report(result, nonce)


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
    """Take the report out of a command's output."""
    _, begin, rest = result.stdout.partition(f"\nbegin-{nonce}\n")
    body, end, _ = rest.partition(f"\nend-{nonce}\n")
    if not begin or not end:
        said = next((line for line in (result.stdout + result.stderr).splitlines() if line.strip()), "")
        raise ServerError(
            "jupyter-failed",
            "the account runs no shell commands" + (f"; it said: {said.strip()[:200]}" if said else ""),
            "try `ssh HOST /bin/sh -c true`; the login shell or its start-up files may get in the way",
        )
    pairs = (line.partition(" ") for line in body.splitlines())
    return Report(tuple((word, text) for word, _, text in pairs if word))


def file_name(key: str) -> str:
    """A profile's name as part of a file name: short, without slashes, different for different names."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}", key):
        return key
    return "%" + hashlib.sha256(key.encode()).hexdigest()[:32]
