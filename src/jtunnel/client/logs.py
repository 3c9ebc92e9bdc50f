"""`logs`: the daemon's log file, read here without the daemon's help; `remote_log` has a remote server's."""

from __future__ import annotations

import os
import time
from collections import deque

from jtunnel import paths
from jtunnel.client import terminal
from jtunnel.errors import EXIT_DONE, EXIT_FAILED, ConfigError, ControlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Final

_POLL_S: Final = 0.2


def show_logs(environ: Mapping[str, str], *, name: str | None, follow: bool, lines: int, remote: bool) -> int:
    """Print the end of a log and, to `follow` it, what is added until Ctrl-C."""
    try:
        if remote:
            from jtunnel.client.remote_log import show_remote_log

            if name is None:
                raise ConfigError(
                    "usage", "logs --remote needs the name of a tunnel", "jtunnel logs NAME --remote"
                )
            return show_remote_log(environ, name, lines, follow)
        return _show_local(environ, name, lines, follow)
    except KeyboardInterrupt:
        return EXIT_DONE


class LineFilter:
    """Keeps one tunnel's lines of the daemon's log, those of all (`[*]`), and the lines that continue them.

    A line reads `2026-11-22T04:00:00.123Z info    [gpu] text`; without brackets it is no tunnel's.
    """

    def __init__(self, name: str | None) -> None:
        self._marks = () if name is None else (f"[{name}]", "[*]")
        self._keeps = not self._marks

    def keeps(self, line: str) -> bool:
        """Whether `line`, which follows the last one given, is to be shown."""
        if self._marks and line[:4].isdigit() and line[10:11] == "T":
            self._keeps = " ".join(line.split(None, 3)[2:3]) in self._marks
        return self._keeps


class LogFile:
    """A log file that is read as it grows, is rotated or is cut short."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = open(path, "rb")  # noqa: SIM115  (replaced at each rotation)
        self._rest = b""

    def read_lines(self) -> Iterator[str]:
        """The whole lines that were added since the last call."""
        yield from self._drain()
        if self._is_replaced():
            # A line written between the two looks at the old file must not be lost.
            yield from self._drain()
            self._file.close()
            self._file = open(self._path, "rb")  # noqa: SIM115
            self._rest = b""
            yield from self._drain()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _drain(self) -> Iterator[str]:
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")

    def _is_replaced(self) -> bool:
        try:
            now = os.stat(self._path)
        except FileNotFoundError:
            return False
        return now.st_ino != os.fstat(self._file.fileno()).st_ino or now.st_size < self._file.tell()


def _show_local(environ: Mapping[str, str], name: str | None, lines: int, follow: bool) -> int:
    path = paths.log_file(environ)
    log = _open(path, wait=follow)
    if log is None:
        terminal.say(f"there is no log at {path} yet; the daemon writes it: jtunnel up")
        return EXIT_FAILED
    filter_ = LineFilter(name)
    try:
        kept: deque[str] = deque(maxlen=lines)
        told = name is None
        for line in log.read_lines():
            if filter_.keeps(line):
                kept.append(line)
                told = told or f"[{name}]" in line
        if name is not None and not told:
            _check_name(environ, name)
            terminal.say(f"the log has no line of {name} yet; to bring it up: jtunnel up {name}")
        print_lines(kept)
        while follow:
            time.sleep(_POLL_S)
            print_lines(line for line in log.read_lines() if filter_.keeps(line))
    finally:
        log.close()
    return EXIT_DONE


def _check_name(environ: Mapping[str, str], name: str) -> None:
    """Raise JTunnelError (`unknown-profile`) where the daemon, or else the config, does not know `name`."""
    from jtunnel.client.dial import dial

    try:
        with dial(environ) as connection:
            connection.call("status", {"names": [name]})
    except ControlError as error:
        if error.kind != "no-daemon":
            raise
        path = paths.config_file(environ)
        if name not in _profiles(path):
            raise ConfigError(
                "unknown-profile", f"no profile {name!r} in {path}", "see them with: jtunnel status"
            ) from None


def _profiles(path: str) -> Iterable[str]:
    """The names in a config file; none where it cannot be read."""
    import tomllib

    try:
        with open(path, "rb") as file:
            profiles = tomllib.load(file).get("profiles", {})
    except (OSError, ValueError):
        return ()
    return profiles if isinstance(profiles, dict) else ()


def _open(path: str, *, wait: bool) -> LogFile | None:
    said = False
    while True:
        try:
            return LogFile(path)
        except FileNotFoundError:
            if not wait:
                return None
        if not said:
            terminal.say(f"waiting for a log at {path}")
            said = True
        time.sleep(_POLL_S)


def print_lines(lines: Iterable[str]) -> None:
    """Lines of a log, without anything in them that steers a terminal."""
    text = "".join(f"{terminal.printable(line)}\n" for line in lines)
    if text:
        terminal.put_raw(text)
