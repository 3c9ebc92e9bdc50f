"""What arguments of commands are made of: their form, as argparse takes it, checks, and the common ones."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    #: An argument as argparse takes it: its flags or its name, and the rest.
    Argument = tuple[tuple[str, ...], dict[str, Any]]
    #: Summary, examples, arguments, function.
    Command = tuple[str, tuple[str, ...], tuple[Argument, ...], str]

DEFAULT_TIMEOUT_S: Final = 90.0
DEFAULT_LINES: Final = 100
#: What `--format` knows by name; anything else is a template.
BARS: Final = ("waybar", "polybar", "tmux", "xbar", "starship")


def seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise ValueError
    return value


def count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def single(text: str) -> str:
    if any(sign in text for sign in "*?["):
        raise ValueError
    return text


def port(text: str) -> int | str:
    if text == "auto":
        return text
    value = int(text)
    if not 0 < value < 65536:
        raise ValueError
    return value


port.__name__ = "port number, or auto"
seconds.__name__, count.__name__ = "number of seconds", "whole number"
single.__name__ = "single name, no pattern"


def argument(*flags: str, **options: Any) -> Argument:
    return flags, options


PROFILES: Final = "a profile; a pattern such as 'gpu*'"
NAMES: Final[Argument] = argument("names", nargs="*", metavar="NAME", help=PROFILES)
SOME: Final[Argument] = argument("names", nargs="+", metavar="NAME", help=PROFILES)
NAME: Final[Argument] = argument("name", type=single, metavar="NAME", help="a profile")
ONLY: Final[Argument] = argument(
    "name", nargs="?", metavar="NAME", help="a profile, or a pattern of one; not needed where there is one"
)
TAG: Final[Argument] = argument(
    "--tag", dest="tags", action="append", default=[], metavar="T", help="all profiles with this tag"
)
ALL: Final[Argument] = argument("--all", dest="every", action="store_true", help="all profiles")
COLOUR: Final[Argument] = argument(
    "--color",
    dest="colour",
    metavar="WHEN",
    choices=("auto", "always", "never"),
    default="auto",
    help="colours: always, never, or where a terminal shows them (auto)",
)
JSON: Final[Argument] = argument(
    "--json", dest="as_json", action="store_true", help="one JSON document, for scripts"
)
