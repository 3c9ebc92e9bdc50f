"""Runs one of our shell scripts on the remote and reads its report; knows nothing of what they say."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from importlib import resources
from typing import Final, Literal

from jtunnel import remote_shell
from jtunnel.errors import ChannelError, ServerError
from jtunnel.remote import CommandResult, Remote

#: The folder of jtunnel that knows a kind of service.
Kind = Literal["service", "jupyter"]
#: Scripts that are too long for one file: what each consists of besides.
_PARTS: Final = {"find": ("places",), "prepare": ("shells", "places", "ports"), "setup_port": ("ports",)}


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
    remote: Remote,
    name: str,
    key: str,
    *,
    timeout_s: float,
    kind: Kind = "service",
    **variables: str | int,
) -> Report:
    """Run `scripts/NAME.sh` with these shell variables set, `key` (the profile's name) among them.

    For a special `kind` of service, its common part is added, and its own script of that name.
    Raises ChannelError (`connection-lost` also where the remote did not finish, or not in time) and
    ServerError (`jupyter-failed`) where the account runs no commands, or not as they were sent.
    """
    nonce = secrets.token_hex(8)
    text = remote_shell.PREAMBLE + compose(name, nonce, {"key": file_name(key), **variables}, kind)
    try:
        result = await remote.run(
            remote_shell.command_line(nonce),
            stdin=text,
            timeout_s=timeout_s,
            until=remote_shell.last_line(nonce),
        )
    except TimeoutError:
        raise ChannelError(
            "connection-lost",
            f"the remote did not finish a command within {timeout_s:.0f} s",
            "it is tried again; a slow home directory or shell start-up file may be the cause",
            reason="slow",
        ) from None
    return read_report(result, nonce)


def compose(
    name: str,
    nonce: str,
    variables: dict[str, str | int],
    kind: Kind = "service",
) -> str:
    """The text to run: variables, the common parts, the script, its report marked."""
    plain, own = (resources.files("jtunnel") / folder / "scripts" for folder in ("service", kind))
    files = [plain / "common.sh"]
    if kind != "service":
        files.append(own / "common.sh")
    files.extend(plain / f"{part}.sh" for part in _PARTS.get(name, ()))
    # What a kind has of the same name comes last, and may put functions in place of others.
    scripts = [plain / f"{name}.sh", *([own / f"{name}.sh"] if kind != "service" else [])]
    files.extend(script for script in scripts if script.is_file())
    return remote_shell.compose([file.read_text(encoding="utf-8") for file in files], nonce, variables)


def read_report(result: CommandResult, nonce: str) -> Report:
    """Take the report out of a command's output. Raises what `run_script` does."""
    found = remote_shell.cut_out(result.stdout, nonce)
    killed = result.exit_status is None or result.exit_status < 0
    if not found.has_ended and (found.has_begun or killed):
        raise ChannelError(
            "connection-lost", "a command on the remote was cut short", "it is tried again by itself"
        )
    if not found.has_ended:
        said = next((line for line in (result.stdout + result.stderr).splitlines() if line.strip()), "")
        raise ServerError(
            "jupyter-failed",
            "the account runs no shell commands" + (f"; it said: {said.strip()[:200]}" if said else ""),
            "try `ssh HOST /bin/sh -c true`; the login shell or its start-up files may get in the way",
        )
    pairs = (line.partition(" ") for line in found.text.split("\n"))
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
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}(\+[a-z]+)?", key):
        return key
    return "%" + hashlib.sha256(key.encode()).hexdigest()[:32]
