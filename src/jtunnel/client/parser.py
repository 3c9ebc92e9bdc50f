"""The argument parser of one command, made from the table; what it refuses is one line that says what to do.

Imported where a command line has arguments: argparse is a good part of what such a command takes to start.
"""

from __future__ import annotations

import argparse

from jtunnel.client.table import COMMANDS, HIDDEN
from jtunnel.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import SimpleNamespace
    from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Options may stand before, between and behind the names; wrong usage is a ConfigError."""

    def __init__(self, command: str) -> None:
        summary, examples, arguments, _ = COMMANDS.get(command) or HIDDEN[command]
        heading = "example:" if len(examples) == 1 else "examples:"
        super().__init__(
            prog=f"jtunnel {command}",
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog="\n".join([heading, *(f"  {line}" for line in examples)]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        self._command = command
        self._positionals.title = "arguments"
        for flags, options in arguments:
            self.add_argument(*flags, **_checked(options))
        self.add_argument("-h", "--help", action="help", help="show this")

    def read(self, argv: Sequence[str], given: SimpleNamespace) -> None:
        """Fill `given`; exits with 0 once it has shown the help. Raises ConfigError (`usage`)."""
        _, left = self.parse_known_intermixed_args(argv, given)
        self._refuse_contradiction(argv)
        if not left:
            if getattr(given, "every", False) and (given.names or given.tags):
                raise self._wrong("--all goes with no name and no --tag")
            return
        option = next((word for word in left if word.startswith("-")), None)
        if option is None:
            raise self._wrong(f"{left[0]!r} is one word too many")
        raise self._wrong(f"unknown option {option}", self._near(option.partition("=")[0]))

    def error(self, message: str) -> NoReturn:
        """Say in our words what argparse found."""
        if (missing := message.removeprefix("the following arguments are required: ")) != message:
            raise self._wrong(f"{missing.replace(', ', ' and ')} missing")
        where, separator, what = message.removeprefix("argument ").partition(": ")
        if not separator:
            raise self._wrong(message)
        if what == "expected one argument":
            what = "a value is missing behind it"
        elif what.startswith("ignored explicit argument"):
            what = "takes no value"
        raise self._wrong(f"{where}: {what}" if where.startswith("-") else what)

    def _refuse_contradiction(self, argv: Sequence[str]) -> None:
        """Of options that say different things of the same, argparse would take the last."""
        chosen: dict[str, argparse.Action] = {}
        for action in self._actions:
            if action.const is not None and any(flag in argv for flag in action.option_strings):
                other = chosen.setdefault(action.dest, action)
                if other is not action:
                    flags = f"{other.option_strings[-1]} and {action.option_strings[-1]}"
                    raise self._wrong(f"{flags} exclude each other")

    def _near(self, option: str) -> str:
        import difflib

        known = [flag for action in self._actions for flag in action.option_strings]
        begun = [flag for flag in known if flag.startswith(option)]
        near = begun or difflib.get_close_matches(option, known, 1)
        return f"did you mean {near[0]}? " if near else ""

    def _wrong(self, what: str, hint: str = "") -> ConfigError:
        return ConfigError("usage", f"{self._command}: {what}", f"{hint}see: jtunnel {self._command} --help")


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """An argument's options, with a type that refuses in our words; those of argparse differ by version."""
    if "choices" in options:
        return {**options, "type": _choice(options["choices"])}
    return {**options, "type": _value(options["type"])} if "type" in options else options


def _choice(choices: Iterable[str]) -> Callable[[str], str]:
    *others, last = choices

    def check(text: str) -> str:
        if text in others or text == last:
            return text
        raise argparse.ArgumentTypeError(f"expected {', '.join(others)} or {last}, found {text!r}")

    return check


def _value(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def check(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a {kind.__name__}, found {text!r}") from None

    return check
