"""How a script of ours reaches a shell of the remote account, and how what it says is found again.

A script travels on standard input, so that nothing of it is in a program's arguments and the login
shell reads only one quoted line. What it says stands between random marks: whatever start-up files print
around it is dropped; where they read the script's beginning, nothing of it runs.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: The line after which the script begins. Where a start-up file has put another shell in place of the one
#: that was to read it, as an unguarded `exec zsh` does, that one reads it as a command: sh is back.
_MARK: Final = "exec /bin/sh -s jtunnel"
#: Lines for start-up files that read standard input, and that line.
PREAMBLE: Final = "\n" * 64 + f"{_MARK}\n"
#: Reads the preamble byte by byte, as read(1p) must, and leaves the script to the shell that follows.
#: Any login shell can pass it on in single quotes: there is no quote, `!`, backslash or line end in it.
_DOOR: Final = (
    f'while read -r jtunnel_line; do case $jtunnel_line in "") ;; "{_MARK}") exec /bin/sh -s ;; *) break ;; '
    "esac; done; echo; echo begin-NONCE; echo eaten; echo; echo end-NONCE"
)


def command_line(nonce: str) -> str:
    """What to run on the remote; the preamble and a script follow on its standard input."""
    return f"exec /bin/sh -c '{door(nonce)}'"


def door(nonce: str) -> str:
    """What reads standard input first: a script runs only where its beginning is there; else `eaten`."""
    return _DOOR.replace("NONCE", nonce)


def last_line(nonce: str) -> str:
    """The line of output after which nothing of ours comes."""
    return f"end-{nonce}"


def compose(parts: list[str], nonce: str, variables: Mapping[str, str | int]) -> str:
    """The text of a script to run: variables (never exported), its parts, its `main` between marks."""
    return "\n".join(
        [
            # A variable of that name that came with the environment would be exported to what we start.
            *(f"unset {word}; {word}={shlex.quote(str(value))}" for word, value in variables.items()),
            *parts,
            f"printf '\\n%s\\n' begin-{nonce}",
            "main </dev/null",
            f"printf '\\n%s\\n' {last_line(nonce)}",
            "",
        ]
    )


@dataclass(frozen=True, slots=True)
class Said:
    """What a script said, and whether it began and came to its end."""

    text: str
    has_begun: bool
    has_ended: bool


def cut_out(output: str, nonce: str) -> Said:
    """Find what a script said in all that the command printed."""
    _, begin, rest = output.partition(f"\nbegin-{nonce}\n")
    text, end, _ = rest.partition(f"\n{last_line(nonce)}\n")
    return Said(text, bool(begin), bool(end))
