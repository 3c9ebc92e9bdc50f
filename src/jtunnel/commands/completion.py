"""`jtunnel completion`: the script that completes jtunnel's words in a shell, from the table of commands.

How each shell works is in `scripts/completion.*`; here is what they are filled with. The names of profiles
and the like are asked for at Tab (`jtunnel.client.complete`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from jtunnel.client import terminal
from jtunnel.client.argument_kinds import BARS
from jtunnel.client.table import COMMANDS
from jtunnel.errors import EXIT_DONE

if TYPE_CHECKING:
    from jtunnel.client.argument_kinds import Argument

#: Arguments whose words are asked for → the kind of `jtunnel __complete`.
_ASKED: Final[Mapping[str, str]] = {"names": "names", "name": "names", "tags": "tags", "spec": "forwards"}
#: Arguments that take other words too → those to offer.
_SUGGESTED: Final[Mapping[str, tuple[str, ...]]] = {"form": BARS}
#: What zsh says of them.
_CALLED: Final[Mapping[str, str]] = {"names": "profile", "tags": "tag", "forwards": "forward"}
_HELP: Final[Argument] = (("-h", "--help"), {"action": "help", "help": "show its arguments and examples"})


@dataclass(frozen=True)
class Place:
    """A place for a word: an option with or without a value, or (without flags) a word of the command."""

    flags: tuple[str, ...]
    help: str
    metavar: str
    has_word: bool
    asked: str | None
    choices: tuple[str, ...]
    repeats: bool


def run(environ: Mapping[str, str], *, shell: str) -> int:
    """Print the completion script of `shell`."""
    del environ
    terminal.put_raw(completion_script(shell))
    return EXIT_DONE


def completion_script(shell: str) -> str:
    """The completion script for `bash`, `zsh` or `fish`."""
    script = (resources.files(__package__) / "scripts" / f"completion.{shell}").read_text(encoding="utf-8")
    for mark, text in {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]().items():
        script = script.replace(f"@{mark}@", text)
    return script


def _places(command: str) -> Iterator[Place]:
    for flags, options in (*COMMANDS[command][2], _HELP):
        yield _place(flags, options)


def _place(flags: tuple[str, ...], options: Mapping[str, Any]) -> Place:
    is_option = flags[0].startswith("-")
    name = options.get("dest", flags[0])
    return Place(
        flags=flags if is_option else (),
        help=options["help"],
        metavar=options.get("metavar", name),
        has_word=not is_option or options.get("action", "append") == "append",
        asked=_ASKED.get(name),
        choices=tuple(options.get("choices", _SUGGESTED.get(name, ()))),
        repeats=options.get("nargs") in ("*", "+") or options.get("action") == "append",
    )


def _bash() -> Mapping[str, str]:
    lines: list[str] = []
    for command in COMMANDS:
        places = list(_places(command))
        flags = [f"{place.flags[-1]}{'+' * place.repeats}" for place in places if place.flags]
        values = [f"{flag}={_list(place)}" for place in places if place.has_word for flag in place.flags]
        words = [f"{_list(place) or '-'}{'+' * place.repeats}" for place in places if not place.flags]
        lines += [
            f"        {command})",
            f"            options={','.join(flags)}",
            *([f"            values='{' '.join(values)}'"] if values else []),
            *([f"            places='{' '.join(words)}'"] if words else []),
            "            ;;",
        ]
    lines += ["        help)", f"            places={','.join(COMMANDS)}", "            ;;"]
    return {"TABLE": "\n".join(lines), "COMMANDS": ",".join((*COMMANDS, "help"))}


def _list(place: Place) -> str:
    return f"@{place.asked}" if place.asked else ",".join(place.choices)


def _zsh() -> Mapping[str, str]:
    lines: list[str] = []
    for command in COMMANDS:
        specs = [_zsh_spec(place) for place in _places(command)]
        lines += [f"        ({command})", "            _arguments -S : \\"]
        lines += [f"                {spec} \\" for spec in specs[:-1]]
        lines += [f"                {specs[-1]} && ret=0", "            ;;"]
    lines += [
        "        (help)",
        "            _arguments -S : '1: :_jtunnel_commands' && ret=0",
        "            ;;",
    ]
    summaries = {**{name: command[0] for name, command in COMMANDS.items()}, "help": "show a command's help"}
    listed = (f"        {_quoted(f'{name}:{text}')}" for name, text in summaries.items())
    return {"TABLE": "\n".join(lines), "COMMANDS": "\n".join(listed)}


def _zsh_spec(place: Place) -> str:
    """An argument as `_arguments` takes it (zshcompsys(1))."""
    if place.asked == "forwards":
        action = f"{_CALLED[place.asked]}: _jtunnel_ask {place.asked} {_CALLED[place.asked]} $line[1]"
    elif place.asked:
        action = f"{_CALLED[place.asked]}: _jtunnel_ask {place.asked} {_CALLED[place.asked]}"
    elif place.choices:
        action = f"{place.metavar.replace(':', chr(92) + ':')}:({' '.join(place.choices)})"
    else:
        action = f"{place.help.replace(':', chr(92) + ':')}: "
    if not place.flags:
        return _quoted(f"{'*' if place.repeats else ''}:{action}")
    text = "".join(f"\\{letter}" if letter in "[]:\\" else letter for letter in place.help)
    ending = f"[{text}]:{action}" if place.has_word else f"[{text}]"
    flags = [f"{flag}={ending}" if place.has_word else f"{flag}{ending}" for flag in place.flags]
    if place.repeats:
        return _quoted(f"*{flags[0]}")
    excluded = f"({' '.join(place.flags)})"
    return " ".join(_quoted(f"{excluded}{flag}") for flag in flags)


def _fish() -> Mapping[str, str]:
    lines: list[str] = []
    valued: dict[str, None] = {}
    for command, (summary, *_) in COMMANDS.items():
        lines.append(f"\ncomplete -c jtunnel -n $none -a {command} -d {_quoted(summary)}")
        at = 0
        for place in _places(command):
            at += not place.flags
            condition = f"__jtunnel_at {command}" + ("" if place.flags or place.repeats else f" {at}")
            words = _fish_words(place)
            flags = "".join(
                f" -l {flag[2:]}" if flag[1] == "-" else f" -s {flag[1:]}" for flag in place.flags
            )
            described = f" -d {_quoted(place.help)}" if place.flags else ""
            if place.flags or words:
                lines.append(f"complete -c jtunnel -n '{condition}'{flags}{words}{described}")
            if place.flags and place.has_word:
                valued |= dict.fromkeys(place.flags)
    lines.append("\ncomplete -c jtunnel -n $none -a help -d 'show a command\\'s help'")
    lines.append(f"complete -c jtunnel -n '__jtunnel_at help 1' -a '{' '.join(COMMANDS)}'")
    return {"TABLE": "\n".join(lines), "VALUED": " ".join(valued)}


def _fish_words(place: Place) -> str:
    words = " ".join(place.choices)
    if place.asked:
        name = " (__jtunnel_given)[2]" if place.asked == "forwards" else ""
        words = f"(__jtunnel_ask {place.asked}{name})"
    taken = " -x" if place.flags and place.has_word else ""
    # Profiles stay in the order of the config file.
    return f"{taken}{' -k' if place.asked else ''}" + (f" -a '{words}'" if words else "")


def _quoted(text: str) -> str:
    """Text as one word of zsh, bash or fish: the three agree on this much of single quotes."""
    return "'" + text.replace("'", "'\\''") + "'"
