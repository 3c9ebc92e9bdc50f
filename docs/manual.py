"""Makes docs/jtunnel.1, the man page: the prose of jtunnel.1.in, the table of commands, the config's schema.

`make docs` writes it; a test holds the page in the tree against what this makes.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from jtunnel.client.table import COMMANDS, GROUPS
from jtunnel.config.schema import config_schema

if TYPE_CHECKING:
    from jtunnel.client.argument_kinds import Argument

DIRECTORY: Final = os.path.dirname(os.path.abspath(__file__))
_WIDTH: Final = 72
#: Heading → the table of the schema whose keys it lists.
_TABLES: Final[Mapping[str, str]] = {
    "Keys of a profile": "ProfileTable",
    "Keys of its jupyter table": "JupyterTable",
    "Keys of its service table": "ServiceTable",
    "Keys of a forward that is a table": "ForwardTable",
}
#: What roff would turn into something prettier than what a person has to type (groff_char(7)).
_LITERALLY: Final = str.maketrans(
    {"\\": "\\e", "-": "\\-", "'": "\\(aq", "~": "\\(ti", "`": "\\(ga", "^": "\\(ha"}
)


def page() -> str:
    """The man page, in mdoc(7)."""
    with open(os.path.join(DIRECTORY, "jtunnel.1.in"), encoding="utf-8") as file:
        text = file.read()
    text = text.replace("@COMMANDS@\n", _lines(_commands()))
    return text.replace("@KEYS@\n", _lines(_keys()))


def _lines(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _commands() -> Iterator[str]:
    for group, commands in GROUPS.items():
        yield f".Ss {group[0].upper()}{group[1:]}"
        yield ".Bl -tag -width Ds"
        for command in commands:
            yield from _command(command)
        yield ".El"


def _command(command: str) -> Iterator[str]:
    summary, examples, arguments, _ = COMMANDS[command]
    options = [argument for argument in arguments if argument[0][0].startswith("-")]
    words = [argument for argument in arguments if argument not in options]
    optional = (f"Oo {_option(option)} Oc" for option in options)
    yield " ".join([".It Cm", command, *optional, *map(_word, words)])
    yield from _sentences(summary)
    if arguments:
        yield ".Bl -tag -width Ds -compact"
        for argument in (*words, *options):
            yield f".It {_option(argument) if argument in options else _name(argument)}"
            yield from _sentences(argument[1]["help"])
        yield ".El"
    yield ".Pp"
    yield ".Bd -literal -offset indent -compact"
    yield from (f"$ {line.translate(_LITERALLY)}" for line in examples)
    yield ".Ed"


def _option(argument: Argument) -> str:
    """An option in mdoc: `Fl R | Fl -remote`, `Fl -timeout Ar S`."""
    flags, described = argument
    names = " | ".join(f"Fl {flag[1:]}" for flag in flags)
    if described.get("action", "append") != "append":
        return names
    return f"{names} Ar {described.get('metavar') or ' | '.join(described['choices'])}"


def _name(argument: Argument) -> str:
    """A word that is no option: `Ar NAME`, `Cm check | path | schema`."""
    (name,), described = argument
    macro = "Cm" if "choices" in described else "Ar"
    return f"{macro} {described.get('metavar', name).replace('|', ' | ')}"


def _word(argument: Argument) -> str:
    """The same with how often it may come: `Oo Ar NAME ... Oc`."""
    nargs = argument[1].get("nargs")
    text = f"{_name(argument)} ..." if nargs in ("*", "+") else _name(argument)
    return f"Oo {text} Oc" if nargs in ("*", "?") else text


def _keys() -> Iterator[str]:
    schema = config_schema()
    for heading, table in _TABLES.items():
        yield f".Ss {heading}"
        properties = schema["$defs"][table]["properties"]
        # Without a host there is no profile: it comes first.
        yield from _described(
            {key: properties[key] for key in sorted(properties, key=lambda key: key != "host")}
        )
    yield ".Ss Keys before all tables"
    yield from _described(
        {key: value for key, value in schema["properties"].items() if key == "watch_config"}
    )


def _described(properties: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield ".Bl -tag -width Ds -compact"
    for key, field in properties.items():
        default = field.get("default")
        shown = "" if default in (None, [], {}, "") else f" ({str(default).lower()})"
        yield f".It Cm {key}"
        yield from _sentences(field["description"].removesuffix(".") + shown)
    yield ".El"


def _sentences(text: str) -> Iterator[str]:
    """Text as lines of roff, each sentence on lines of its own as mdoc(7) wants it."""
    for sentence in re.split(r"(?<=[.]) (?=[A-Z])", f"{text[0].upper()}{text[1:]}."):
        for line in textwrap.wrap(sentence, _WIDTH, break_long_words=False, break_on_hyphens=False):
            yield _plain(line)


def _plain(line: str) -> str:
    """A line without anything that roff would act on; what is not ASCII goes by number (groff_char(7))."""
    escaped = line.replace("\\", "\\e").replace("'", "\\(aq").replace("~", "\\(ti").replace(" -", " \\-")
    escaped = "".join(letter if letter.isascii() else f"\\[u{ord(letter):04X}]" for letter in escaped)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def main() -> None:
    """Write the page beside this file."""
    with open(os.path.join(DIRECTORY, "jtunnel.1"), "w", encoding="utf-8") as file:
        file.write(page())


if __name__ == "__main__":
    main()
