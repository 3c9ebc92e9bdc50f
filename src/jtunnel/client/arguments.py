"""Reads a command line by the table of commands, and has the list of them for `jtunnel --help`.

A bare `status`, and what a shell asks at Tab, are read without a parser.
"""

from __future__ import annotations

from types import SimpleNamespace

from jtunnel.client.table import COMMANDS, GROUPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def parse(command: str, argv: Sequence[str]) -> SimpleNamespace:
    """The arguments of a command by their names; exits with 0 for --help. Raises ConfigError (`usage`)."""
    if command == "status" and not argv:
        # The call that people and prompts repeat: argparse would be a third of its own time.
        return SimpleNamespace(names=[], tags=[], as_json=False, watch=False, form=None, colour="auto")
    if command == "__complete" and argv:
        return SimpleNamespace(kind=argv[0], name=argv[1] if len(argv) > 1 else None)
    from jtunnel.client.parser import Parser

    given = SimpleNamespace()
    Parser(command).read(argv, given)
    return given


def overview() -> str:
    """What `jtunnel --help` prints."""
    lines: list[str] = []
    for group, commands in GROUPS.items():
        lines += ["", f"{group}:", *(f"  {name:<10}  {COMMANDS[name][0]}" for name in commands)]
    return "\n".join(
        [
            "usage: jtunnel COMMAND [ARGUMENT ...]",
            "",
            "Keeps a remote Jupyter server at a local address, through sleep and network",
            "changes. NAME is a profile of the config file, or a pattern such as 'gpu*'.",
            *lines,
            "",
            "options:",
            "  -h, --help     show this; behind a command its arguments and examples",
            "  -V, --version  show the version, and that of the daemon that runs",
            "",
            "examples:",
            "  jtunnel up gpu && jtunnel open gpu",
            "  jtunnel status --watch",
        ]
    )
