"""The `jtunnel` command: picks what was called, and turns its failure into one line and an exit code."""

from __future__ import annotations

import os
import sys

from jtunnel.client import arguments, terminal
from jtunnel.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, ConfigError, JTunnelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import SimpleNamespace, TracebackType
    from typing import Final

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
    if argv[:1] == ["daemon"]:
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
    if command in ("-h", "--help", "help"):
        terminal.put_raw(arguments.overview() + "\n")
        return EXIT_DONE
    if command == "--version":
        from jtunnel import __version__

        terminal.put(f"jtunnel {__version__}")
        return EXIT_DONE
    if command in arguments.FOREIGN:
        return _run_foreign(command, rest)
    if command not in arguments.COMMANDS:
        raise _unknown(command)
    try:
        return _run(command, arguments.parse(command, rest))
    except SystemExit as exit_:  # argparse has said why
        return exit_.code if isinstance(exit_.code, int) else EXIT_USAGE


def _run(command: str, given: SimpleNamespace) -> int:
    """Import what one command needs, and nothing else: the start-up time is the most of it."""
    environ = os.environ
    if command == "status":
        from jtunnel.client import show

        return show.show_status(environ, names=given.names, as_json=given.json, watch=given.watch)
    if command in ("up", "restart"):
        from jtunnel.client import up

        if command == "restart":
            return up.restart(environ, names=given.names)
        return up.bring_up(
            environ,
            names=given.names,
            tags=given.tags,
            every=given.every,
            wait=given.wait,
            timeout_s=given.timeout,
        )
    if command in ("open", "stop"):
        from jtunnel.client import server

        if command == "open":
            return server.open_in_browser(environ, name=given.name)
        return server.stop_server(environ, name=given.name, force=given.force)
    if command == "logs":
        from jtunnel.client import logs

        return logs.show_logs(
            environ, name=given.name, follow=given.follow, lines=given.lines, remote=given.remote
        )
    return _run_call(command, given)


def _run_call(command: str, given: SimpleNamespace) -> int:
    from jtunnel.client import control

    environ = os.environ
    if command == "down":
        return control.take_down(environ, names=given.names, tags=given.tags, every=given.every)
    if command == "url":
        return control.print_url(environ, name=given.name)
    if command == "reload":
        return control.reload(environ)
    if command == "shutdown":
        return control.shut_down(environ)
    return control.call_raw(environ, method=given.method, params=given.params)


def _run_foreign(command: str, argv: list[str]) -> int:
    if command == "config":
        from jtunnel.commands.config import run as run_config

        return run_config(argv)
    from jtunnel.commands.demo import run as run_demo

    return run_demo(argv)


def _unknown(command: str) -> ConfigError:
    import difflib

    near = difflib.get_close_matches(command, [*arguments.COMMANDS, *arguments.FOREIGN], 1)
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
