"""The command line: which commands there are, what each takes, and its help.

Only the parser of the command that was called is built, and none for a bare `status`.
"""

from __future__ import annotations

from types import SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    #: An argument as argparse takes it: its flags or its name, and the rest.
    Argument = tuple[tuple[str, ...], dict[str, Any]]

DEFAULT_TIMEOUT_S: Final = 90.0
DEFAULT_LINES: Final = 100

#: Commands that are parsed elsewhere → what each does.
FOREIGN: Final[Mapping[str, str]] = {
    "daemon": "run the daemon in the foreground (the same as jtunneld)",
    "config": "check the config file, print its path or its JSON Schema",
    "demo": "try it all against a throw-away SSH server on this machine",
}


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise ValueError
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


_seconds.__name__, _count.__name__ = "number of seconds", "number"

_NAMES: Final[Argument] = (("names",), {"nargs": "*", "metavar": "NAME", "help": "a profile"})
_NAME: Final[Argument] = (("name",), {"metavar": "NAME", "help": "a profile"})
_TAG: Final[Argument] = (
    ("--tag",),
    {"dest": "tags", "action": "append", "default": [], "metavar": "T", "help": "all profiles with this tag"},
)
_ALL: Final[Argument] = (("--all",), {"dest": "every", "action": "store_true", "help": "all profiles"})

#: Command → what it does, an example, its arguments.
COMMANDS: Final[Mapping[str, tuple[str, str, tuple[Argument, ...]]]] = {
    "status": (
        "show the state of all or some tunnels",
        "jtunnel status --watch",
        (
            _NAMES,
            (("--json",), {"action": "store_true", "help": "one JSON document, for scripts"}),
            (
                ("--watch",),
                {"action": "store_true", "help": "show it again whenever it changes, until Ctrl-C"},
            ),
        ),
    ),
    "up": (
        "bring tunnels up and wait until they answer; starts the daemon if none runs",
        "jtunnel up gpu",
        (
            _NAMES,
            _TAG,
            _ALL,
            (("--no-wait",), {"dest": "wait", "action": "store_false", "help": "return at once"}),
            (
                ("--timeout",),
                {
                    "type": _seconds,
                    "default": DEFAULT_TIMEOUT_S,
                    "metavar": "S",
                    "help": "seconds to wait, those for questions and queues not counted (90)",
                },
            ),
        ),
    ),
    "down": ("drop tunnels; Jupyter and its kernels live on", "jtunnel down gpu", (_NAMES, _TAG, _ALL)),
    "restart": (
        "drop and bring up the SSH connection; Jupyter is left alone",
        "jtunnel restart gpu",
        ((("names",), {"nargs": "+", "metavar": "NAME", "help": "a profile"}),),
    ),
    "open": ("show a tunnel's Jupyter in the browser", "jtunnel open gpu", (_NAME,)),
    "url": ("print the address of a tunnel's Jupyter, with its token", "jtunnel url gpu", (_NAME,)),
    "stop": (
        "shut the remote Jupyter server down",
        "jtunnel stop gpu",
        (_NAME, (("--force",), {"action": "store_true", "help": "also while kernels are busy"})),
    ),
    "logs": (
        "show the daemon's log, one tunnel's lines of it, or the remote server's log",
        "jtunnel logs gpu -f",
        (
            (("name",), {"nargs": "?", "metavar": "NAME", "help": "a profile"}),
            (
                ("-f", "--follow"),
                {"dest": "follow", "action": "store_true", "help": "go on with what is added, until Ctrl-C"},
            ),
            (
                ("--lines",),
                {
                    "type": _count,
                    "default": DEFAULT_LINES,
                    "metavar": "N",
                    "help": "how many of the last lines to show first (100)",
                },
            ),
            (("--remote",), {"action": "store_true", "help": "the log of the Jupyter server of NAME"}),
        ),
    ),
    "reload": ("read the config again; unchanged tunnels are left untouched", "jtunnel reload", ()),
    "shutdown": ("end the daemon and wait for its end", "jtunnel shutdown", ()),
    "rpc": (
        "make one raw call of the control protocol and print the answer as JSON",
        """jtunnel rpc status '{"names": ["gpu"]}'""",
        (
            (("method",), {"metavar": "METHOD", "help": "see docs/protocol.md"}),
            (
                ("params",),
                {"nargs": "?", "default": "{}", "metavar": "JSON", "help": "its parameters, one object"},
            ),
        ),
    ),
}


def parse(command: str, argv: Sequence[str]) -> SimpleNamespace:
    """Read the arguments of a command; exits with 0 for --help and with 2 on wrong usage."""
    if command == "status" and not argv:
        # The call that status bars and prompts repeat: argparse would be a third of its own time.
        return SimpleNamespace(names=[], json=False, watch=False)
    import argparse

    summary, example, arguments = COMMANDS[command]
    parser = argparse.ArgumentParser(
        prog=f"jtunnel {command}",
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example: {example}",
        allow_abbrev=False,
    )
    for flags, options in arguments:
        parser.add_argument(*flags, **options)
    return parser.parse_args(argv, namespace=SimpleNamespace())


def overview() -> str:
    """What `jtunnel --help` prints."""
    summaries = {name: spec[0] for name, spec in COMMANDS.items()} | dict(FOREIGN)
    lines = [f"  {name:<9} {summary}" for name, summary in summaries.items()]
    return "\n".join(
        [
            "usage: jtunnel COMMAND [ARGUMENT ...]",
            "",
            "Keeps a remote Jupyter server at a local address, through sleep and network changes.",
            "",
            "commands:",
            *lines,
            "",
            "options:",
            "  --help    show this, or with a command its arguments",
            "  --version show the version",
            "",
            "example: jtunnel up gpu && jtunnel open gpu",
        ]
    )
