"""The daemon's process: one at a time, its signals, its order of starting and ending."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from jtunnel import __version__, paths
from jtunnel.config.load import load_config
from jtunnel.config.profile import Config
from jtunnel.daemon.board import Board
from jtunnel.daemon.commands import Commands
from jtunnel.daemon.config_watch import watch_config
from jtunnel.daemon.control import prepare_directory, serve_control
from jtunnel.daemon.logs import start_logging
from jtunnel.daemon.manager import Manager, Records
from jtunnel.daemon.notify import MANAGERS_VARIABLES, for_children, keep_status, notify, started_by, summary
from jtunnel.daemon.pages import Pages
from jtunnel.daemon.ports import Ports
from jtunnel.daemon.session import Session
from jtunnel.daemon.wanted import Wanted
from jtunnel.daemon.watchdog import keep_watchdog
from jtunnel.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, ConfigError, ControlError, JTunnelError
from jtunnel.machine.boot import read_boot
from jtunnel.machine.watch import Watch
from jtunnel.telling.teller import Teller

_log = logging.getLogger(__name__)

#: Seconds after the first signal in which everything ends in order; then the process just goes.
STOP_TIMEOUT_S: Final = 4.5
_LOCK_POLL_S: Final = 0.05
_HELP: Final = """\
usage: jtunneld

The daemon of jtunnel, in the foreground. `jtunnel up` starts one by itself.

options:
  -h, --help     show this
  -V, --version  show the version"""
_DESCRIPTORS: Final = 10_240


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon in the foreground until a signal or `jtunnel shutdown`; the `jtunneld` command."""
    for word in sys.argv[1:] if argv is None else argv:
        if word in ("-h", "--help", "-V", "--version"):
            print(_HELP if word in ("-h", "--help") else f"jtunneld {__version__}")
            return EXIT_DONE
        what = f"unknown option {word}" if word.startswith("-") else f"{word!r} is one word too many"
        print(f"jtunneld: {what}; see: jtunneld --help", file=sys.stderr)
        return EXIT_USAGE
    environ = dict(os.environ)
    for name in MANAGERS_VARIABLES:
        # asyncssh's ProxyCommands and whatever else is started from here on inherit what is left.
        os.environ.pop(name, None)
    try:
        return run(environ)
    except JTunnelError as error:
        for line in getattr(error, "lines", ()) or (str(error),):
            print(f"jtunneld: {line}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"jtunneld: cannot start: {error.strerror}: {error.filename}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 130


def run(environ: Mapping[str, str]) -> int:
    """Take the lock, then live; raises JTunnelError where it cannot start.

    A service that finds another daemon at work has nothing to do, and is not started again for it.
    """
    runtime, state = paths.runtime_dir(environ), paths.state_dir(environ)
    config_path = paths.config_file(environ)
    config, problem = _load(config_path, environ)
    prepare_directory(runtime, "JTUNNEL_RUNTIME_DIR")
    prepare_directory(state, "JTUNNEL_STATE_DIR")
    try:
        lock = _lock(os.path.join(runtime, "jtunnel.lock"), paths.control_socket(environ))
    except _SecondDaemonError as error:
        if started_by(environ) == "hand":
            raise
        # systemd counts it as a failure not to have been ready.
        notify(environ, "READY=1", f"STATUS={error.message}; it was not started by this service")
        print(f"jtunneld: {error.message}; this one is not needed", file=sys.stderr)
        return EXIT_DONE
    try:
        _start_logging(environ)
        _raise_descriptor_limit()
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_live(config, environ, problem))
    except BaseExceptionGroup as group:
        # What a start fails with is one error; the task group around it says nothing more.
        expected = group.subgroup((JTunnelError, OSError))
        if expected is None:
            raise
        raise _first(expected) from None
    finally:
        os.close(lock)
    return EXIT_DONE


def _start_logging(environ: Mapping[str, str]) -> None:
    path = paths.log_file(environ)
    try:
        start_logging(path, to_terminal=sys.stderr.isatty() or "JOURNAL_STREAM" in environ)
    except OSError as error:
        raise ControlError(
            "daemon-failed",
            f"cannot write {path}: {error.strerror}",
            "set JTUNNEL_STATE_DIR to a directory that it may write to",
        ) from None


async def _live(config: Config, environ: Mapping[str, str], problem: ConfigError | None) -> None:
    stopping = asyncio.Event()
    board = Board(os.getpid(), config.path, started_by(environ))
    pages = Pages(paths.runtime_dir(environ))
    state = paths.state_dir(environ)
    _log.info("jtunneld %s starts, pid %d, %d profiles", __version__, os.getpid(), len(config.profiles))
    if problem:
        board.config_problem = problem.problem
        _log.warning("the config is not read: %s", problem)
    async with asyncio.TaskGroup() as tasks:
        watch = Watch()
        teller = Teller(tasks, for_children(environ), state)
        records = Records(
            Ports(os.path.join(state, "ports.json")),
            Wanted(os.path.join(state, "wanted.json"), read_boot()),
            teller,
        )
        manager = Manager(tasks, config, environ, board, records, watch)
        commands = Commands(manager, teller, board, pages, stopping)
        reload = asyncio.Event()
        _handle_signals(stopping, reload)
        helpers = [
            tasks.create_task(_reload_on(reload, manager)),
            tasks.create_task(watch.run()),
            tasks.create_task(watch_config(manager, watch.ticks)),
        ]
        try:
            async with serve_control(
                paths.control_socket(environ), lambda reader, writer: Session(reader, writer, commands)
            ):
                manager.start_automatic()
                notify(environ, "READY=1", f"STATUS={summary(board)}")
                helpers += [
                    tasks.create_task(keep_watchdog(environ)),
                    tasks.create_task(keep_status(environ, board)),
                ]
                await stopping.wait()
                notify(environ, "STOPPING=1")
                _go_by_force_after(STOP_TIMEOUT_S)
            # From here nobody is answered: who asks now starts a new daemon, which waits for the lock.
            await teller.close()
            await manager.close()
        finally:
            for helper in helpers:
                helper.cancel()
            pages.clear()
    _log.info("jtunneld ends")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _raise_descriptor_limit() -> None:
    """Each connection costs a descriptor, and some systems begin with 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _load(path: str, environ: Mapping[str, str]) -> tuple[Config, ConfigError | None]:
    """The config, and what is wrong with it.

    Raises ConfigError where a person started the daemon; nobody would start a service again before the next
    login, so it waits for the file to be mended.
    """
    try:
        return load_config(path, environ), None
    except ConfigError as error:
        if error.missing:
            # It may be written later: `up` and `reload` read it then.
            return Config(path=path, profiles={}), None
        if started_by(environ) == "hand":
            raise
        return Config(path=path, profiles={}), error


def _lock(path: str, control_socket: str) -> int:
    """Hold the lock that makes this the only daemon; returns its open file. Raises ControlError.

    A daemon that is ending, which no longer answers, is waited for.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    patience_until = time.monotonic() + STOP_TIMEOUT_S + 1
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _answers(control_socket) or time.monotonic() > patience_until:
                raise _second_daemon(descriptor) from None
            time.sleep(_LOCK_POLL_S)
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor


def _answers(control_socket: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(control_socket)
        except OSError:
            return False
        return True


class _SecondDaemonError(ControlError):
    """Another daemon has the lock."""


def _second_daemon(descriptor: int) -> _SecondDaemonError:
    holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    os.close(descriptor)
    return _SecondDaemonError(
        "daemon-failed",
        f"another daemon runs already{f' (pid {holder})' if holder.isdecimal() else ''}",
        "use it, or end it with: jtunnel shutdown",
    )


def _handle_signals(stopping: asyncio.Event, reload: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if stopping.is_set():
            _log.warning("ends at once, at the second signal")
            os._exit(EXIT_FAILED)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, reload.set)


async def _reload_on(reload: asyncio.Event, manager: Manager) -> None:
    while True:
        await reload.wait()
        reload.clear()
        try:
            await manager.reload()
        except ConfigError as error:
            _log.warning("the config is not read: %s", error)
        except Exception:  # noqa: BLE001  (a bug here must not end the tunnels)
            _log.exception("the config is not taken on")


def _go_by_force_after(seconds: float) -> None:
    """A name look-up that hangs in a thread must not keep a stopped daemon alive."""
    timer = threading.Timer(seconds, os._exit, (EXIT_FAILED,))
    timer.daemon = True
    timer.start()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
