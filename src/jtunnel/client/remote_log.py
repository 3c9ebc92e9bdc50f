"""`logs NAME --remote`: a remote server's log, which the daemon reads part by part."""

from __future__ import annotations

import time

from jtunnel.client import terminal
from jtunnel.client.dial import dial
from jtunnel.client.logs import print_lines
from jtunnel.errors import EXIT_DONE, EXIT_FAILED, JTunnelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final, NoReturn

    from jtunnel.client.connection import Connection

_POLL_S: Final = 1.0
#: Longer than the daemon waits for a slow home directory.
_REMOTE_S: Final = 70.0
#: Characters of an answer behind which there may be more at once.
_MUCH: Final = 100_000
#: Failures of a tunnel that comes back.
_PASSING: Final = ("not-up", "connection-lost", "host-unreachable", "input-required")


def show_remote_log(environ: Mapping[str, str], name: str, lines: int, follow: bool) -> int:
    """Print the end of the log of a tunnel's server and, to `follow` it, what is added, through outages."""
    with dial(environ) as connection:
        answer = _ask_remote(connection, name, lines)
        # What follows brings the unfinished last line again.
        text = (
            answer["text"][: answer["text"].rfind("\n") + 1]
            if follow and "position" in answer
            else answer["text"]
        )
        print_lines(text.splitlines())
        while _is_known(name, answer):
            if not follow:
                return EXIT_DONE
            if "position" not in answer:
                _follow_by_lines(connection, name, lines, text.splitlines())
            if len(text) < _MUCH:
                time.sleep(_POLL_S)
            answer = _ask_again(connection, name, lines, answer["position"])
            text = answer["text"]
            if answer["anew"]:
                terminal.say(f"the log of a new server begins: {answer['path']}")
            print_lines(text.splitlines())
    return EXIT_FAILED


def _ask_remote(connection: Connection, name: str, lines: int, **more: str) -> dict[str, Any]:
    params = {"name": name, "lines": lines, **more}
    answer: dict[str, Any] = connection.call("remote_log", params, timeout_s=_REMOTE_S)
    return answer


def _is_known(name: str, answer: Mapping[str, Any]) -> bool:
    if not answer["path"]:
        terminal.say(
            f"the log of {name}'s server is not known: it was started by hand, and writes "
            "to no file of yours; see it where it was started"
        )
    return bool(answer["path"])


def _ask_again(connection: Connection, name: str, lines: int, position: str) -> dict[str, Any]:
    """What was added since; waits as long as the tunnel is lost."""
    waits = False
    while True:
        try:
            answer = _ask_remote(connection, name, lines, position=position)
        except JTunnelError as error:
            if error.kind not in _PASSING:
                raise
            if not waits:
                terminal.say(f"{error.message}; waiting for it to come back (Ctrl-C ends this)")
            waits = True
            time.sleep(_POLL_S)
            continue
        if waits:
            terminal.say(f"{name} is back")
        return answer


def _follow_by_lines(connection: Connection, name: str, lines: int, seen: list[str]) -> NoReturn:
    """The way of a daemon of version 0.1, which tells no position."""
    while True:
        time.sleep(_POLL_S)
        now = _ask_remote(connection, name, lines)["text"].splitlines()
        print_lines(fresh_lines(seen, now))
        seen = now


def fresh_lines(before: list[str], after: list[str]) -> list[str]:
    """What a log's last lines `after` have that its last lines `before`, seen earlier, have not."""
    for start in range(len(before) + 1):
        if before[start:] == after[: len(before) - start]:
            return after[len(before) - start :]
    return after
