"""The `jtunnel` command: picks what was called, and turns its failure into one line and an exit code."""

from __future__ import annotations

import os
import sys

from jtunnel.client import arguments, table, terminal
from jtunnel.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, ConfigError, JTunnelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Final

#: What other programs call a command → what it is here; only a suggestion is made of it.
ELSEWHERE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("ls", "list", "ps", "show"), "status"),
    **dict.fromkeys(("start", "connect"), "up"),
    **dict.fromkeys(("disconnect", "close", "kill"), "down"),
    **dict.fromkeys(("tail", "log"), "logs"),
    **dict.fromkeys(("remove", "delete"), "rm"),
    "add": "forward",
    "quit": "shutdown",
}
#: As the shell has it for a program that Ctrl-C ended.
EXIT_INTERRUPTED: Final = 130


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    if argv is None:
        argv = sys.argv[1:]
        sys.excepthook = _report_bug
        for stream in (sys.stdout, sys.stderr):
            # A terminal that cannot show a character gets another one, not an error.
            if stream is not None:
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    if argv[:1] == ["daemon"] and argv[1:] not in (["--help"], ["-h"]):
        # It reports its own failures, as it does when run as jtunneld.
        from jtunnel.daemon import process

        sys.excepthook = sys.__excepthook__
        return process.main(argv[1:])
    try:
        return _dispatch(argv)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except JTunnelError as error:
        terminal.say(str(error))
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        _drop_output()
        return EXIT_FAILED
    except OSError as error:
        terminal.say(f"{error.filename}: {error.strerror}" if error.filename else f"failed: {error.strerror}")
        _drop_output()
        return EXIT_FAILED


def _dispatch(argv: list[str]) -> int:
    if not argv:
        terminal.say_raw(arguments.overview() + "\n")
        return EXIT_USAGE
    command, rest = argv[0], argv[1:]
    if command == "help" and rest[:1] not in ([], ["-h"], ["--help"]):
        command, rest = rest[0], ["--help"]
    if command in ("-h", "--help", "help"):
        terminal.put_raw(arguments.overview() + "\n")
        return EXIT_DONE
    if command in ("-V", "--version"):
        from jtunnel.client.version import print_versions

        return print_versions(os.environ)
    found = table.COMMANDS.get(command) or table.HIDDEN.get(command)
    if found is None:
        raise _unknown(command)
    try:
        given = arguments.parse(command, rest)
    except SystemExit:  # argparse has shown the help
        return EXIT_DONE
    # Nothing else is imported: the start-up time is the most of what a command takes.
    module, function = found[3].split(":")
    __import__(f"jtunnel.{module}")
    run = getattr(sys.modules[f"jtunnel.{module}"], function)
    code: int = run(os.environ, **vars(given))
    return code


def _unknown(command: str) -> ConfigError:
    import difflib

    meant = ELSEWHERE.get(command)
    near = [meant] if meant else difflib.get_close_matches(command, table.COMMANDS, 1)
    advice = f"did you mean: jtunnel {near[0]}" if near else "see them with: jtunnel --help"
    return ConfigError("usage", f"there is no command {command}", advice)


def _drop_output() -> None:
    """Keep the interpreter from failing once more over output that cannot be written."""
    if sys.stdout is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "an unknown place"
    if trace is not None:
        place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}, line {trace.tb_lineno}"
    terminal.say(f"internal error: {kind.__name__} at {place}; please report it, it is our bug")
