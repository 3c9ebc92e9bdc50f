"""`jtunnel setup`: shows what would change on the host, asks, has the daemon do it, and says how to go on.

A new password goes from the terminal, or standard input, to the daemon in a parameter of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final, Literal

from jtunnel.client import terminal
from jtunnel.client.connection import Connection, result_of
from jtunnel.client.launch import dial_or_start
from jtunnel.client.prompts import Terminal, answer_prompt, find_terminal, insist_on_yes_or_no
from jtunnel.client.up import bring_up
from jtunnel.errors import EXIT_DONE, EXIT_FAILED, ConfigError, ControlError

#: Login shells, a Python on a slow file system, and the start of a server.
_ANSWER_S: Final = 600.0
_TRIES: Final = 3
_COLOURS: Final = {"+": "32", "-": "31", "~": "33"}


def run(
    environ: Mapping[str, str],
    *,
    name: str,
    port: int | Literal["auto"] | None,
    directory: str | None,
    password: str,
    from_stdin: bool,
    tls: bool | None,
    renew: bool,
    public: bool,
    start: bool,
    dry_run: bool,
    undo: bool,
    yes: bool,
) -> int:
    """Set Jupyter on a profile's host up, or undo that; return the exit code."""
    wishes: dict[str, Any] = {
        "port": port,
        "directory": directory,
        "password": "set" if from_stdin else password,
        "tls": tls,
        "renew": renew,
        "public": public,
        "start": start,
        "undo": undo,
    }
    _check(wishes, from_stdin=from_stdin, none=password == "none")  # noqa: S105  (a word, no password)
    given = _read_password() if from_stdin else ""
    with dial_or_start(environ) as connection:
        talk = _Talk(connection, name, find_terminal())
        answer = talk.ask_daemon(wishes, given, apply=False)
        _show(name, answer, environ)
        if dry_run:
            return EXIT_DONE
        if answer["changes"] or start:
            wishes |= {"plan": answer["plan"], **({} if undo else {"port": answer["port"]})}
            if answer["changes"] and not (yes or talk.agrees()):
                terminal.say(f"{name}: nothing was changed")
                return EXIT_FAILED
            if answer["needs_password"] and not given:
                given = talk.new_password()
            answer = talk.ask_daemon(wishes, given, apply=True)
    _report(name, answer, undo=undo)
    if start:
        return bring_up(environ, names=[name])
    return EXIT_DONE


class _Talk:
    """A conversation with the daemon and, where there is one, a person."""

    def __init__(self, connection: Connection, name: str, person: Terminal | None) -> None:
        self._connection = connection
        self._name = name
        self._person = person

    def ask_daemon(self, wishes: Mapping[str, Any], password: str, *, apply: bool) -> dict[str, Any]:
        """Make the call, and answer what the daemon asks meanwhile."""
        params = {
            "name": self._name,
            "wishes": wishes,
            "password": password,
            "apply": apply,
            "interactive": self._person is not None,
        }
        identifier = self._connection.send("setup", params)
        while (message := self._connection.receive(_ANSWER_S)) is not None:
            method = message.get("method")
            if method is None and message.get("id") == identifier:
                answer: dict[str, Any] = result_of(message)
                return answer
            if method == "prompt" and self._person is not None:
                answer_prompt(self._connection, self._person, message)
            elif method is not None and "id" in message:
                self._connection.refuse(message["id"], method)
        raise ControlError(
            "daemon-failed",
            f"the daemon did not answer `setup` within {_ANSWER_S:.0f} s",
            "see what it does: jtunnel logs",
        )

    def agrees(self) -> bool:
        """Whether the person wants it done. Raises ConfigError (`usage`) where there is nobody to ask."""
        if self._person is None:
            raise ConfigError(
                "usage", "setup: there is no terminal to ask in", "to do it without a question: add --yes"
            )
        answer = self._person.ask(f"{self._name}: do this? (yes/no) ", connection=self._connection)
        return insist_on_yes_or_no(self._person, answer, self._connection) == "yes"

    def new_password(self) -> str:
        """Ask for it twice, unseen. Raises ConfigError (`usage`) where there is nobody, or none is given."""
        if self._person is None:
            raise ConfigError(
                "usage",
                "setup: a password is wanted, and there is no terminal to ask in",
                "give it with --password-stdin, or do without: --no-password",
            )
        for _ in range(_TRIES):
            first = self._person.ask("New password for Jupyter: ", echo=False, connection=self._connection)
            if not first:
                break
            again = self._person.ask("The same again: ", echo=False, connection=self._connection)
            if again == first:
                return first
            self._person.write("They differ.\n")
        raise ConfigError("usage", "setup: no password was given, so nothing was changed", "run it again")


def _check(wishes: Mapping[str, Any], *, from_stdin: bool, none: bool) -> None:
    """Of words that contradict each other, none is right. Raises ConfigError (`usage`)."""
    others = [
        f"--{word}"
        for word in ("port", "directory", "renew", "public", "start")
        if wishes[word] not in (None, False)
    ]
    if wishes["undo"] and (others or wishes["tls"] is not None or wishes["password"] != "keep"):  # noqa: S105
        raise ConfigError(
            "usage", "setup: --undo goes with --dry-run and --yes only", "see: jtunnel setup --help"
        )
    if from_stdin and none:
        raise ConfigError("usage", "setup: --no-password and --password-stdin exclude each other", "take one")


def _read_password() -> str:
    """The first line of standard input. Raises ConfigError (`usage`) where that is empty, or a terminal."""
    if sys.stdin is None or terminal.is_terminal(sys.stdin):
        raise ConfigError(
            "usage", "setup: standard input is no pipe", "to type the password: leave --password-stdin out"
        )
    line = sys.stdin.buffer.readline().rstrip(b"\r\n")
    try:
        password = line.decode()
    except UnicodeDecodeError:
        raise ConfigError("usage", "setup: the password is not UTF-8", "take another one") from None
    if not password:
        raise ConfigError("usage", "setup: the password on standard input is empty", "give one line with it")
    return password


def _show(name: str, answer: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """The difference on standard output, remarks on standard error."""
    if not answer["changes"]:
        terminal.put(f"{name}  nothing to change on {answer['node']}")
    colours = terminal.wants_colour(sys.stdout, environ)
    for line in answer["diff"]:
        shown = terminal.printable(line)
        code = _COLOURS.get(shown[:1]) if colours else None
        terminal.put_raw(f"\x1b[{code}m{shown}\x1b[0m\n" if code else f"{shown}\n")
    for note in answer["notes"]:
        terminal.say(f"{name}: {note}")


def _report(name: str, answer: Mapping[str, Any], *, undo: bool) -> None:
    node = answer["node"]
    if undo:
        if answer["applied"]:
            terminal.put(f"{name}  undone on {node}; a server that runs goes on as it is")
        return
    if answer["applied"]:
        terminal.put(f"{name}  set up on {node}, for {answer['url']} there")
    started = answer["started"]
    if started is None:
        terminal.say(f"to start it there: {answer['command']}")
        terminal.say(f"or from here: jtunnel setup {name} --start; then: jtunnel up {name}")
    elif started["pid"] is None:
        terminal.say(
            f"{name}: a server of yours listens at port {answer['port']} already, and was left alone"
        )
    else:
        terminal.say(f"{name}: started as process {started['pid']}; its log there: {started['log']}")
