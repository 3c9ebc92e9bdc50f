"""Starts child processes and ends them with all that they started. Measures nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import psutil

from bench.failure import MissingError

END_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.01
SYSTEM_PATH: Final = "/usr/local/bin:/opt/homebrew/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
#: Program → the package that has it, in Debian's words.
_PACKAGES: Final = {"ssh": "openssh-client", "ssh-keygen": "openssh-client", "sshd": "openssh-server"}


def find(program: str) -> str:
    """The path of an installed program. Raises MissingError that names the package to install."""
    if found := shutil.which(program, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"):
        return found
    package = _PACKAGES.get(program, program)
    raise MissingError(f"{program} is not installed; install it: sudo apt-get install -y {package}")


def start(
    argv: Sequence[str], env: Mapping[str, str], log: str, *, talking: bool = False
) -> subprocess.Popen[bytes]:
    """Start a process whose errors go to the file `log`; a `talking` one has pipes to its other streams.

    It has a session of its own: Ctrl-C is ours alone, who then end everything in order.
    """
    stream = subprocess.PIPE if talking else subprocess.DEVNULL
    with open(log, "ab") as errors:
        return subprocess.Popen(
            argv, env=env, stdin=stream, stdout=stream, stderr=errors, start_new_session=True
        )


@contextlib.contextmanager
def running(
    argv: Sequence[str], env: Mapping[str, str], log: str, *, talking: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block runs."""
    process = start(argv, env, log, talking=talking)
    try:
        yield process
    finally:
        end([process])


def end(started: Iterable[subprocess.Popen[bytes]]) -> None:
    """End processes and all their descendants: politely, and after a while by force."""
    mine = list(started)
    trees = [process for child in mine for process in tree(child.pid)]
    for child in mine:
        child.terminate()
    stop(trees)
    for child in mine:
        child.wait(END_TIMEOUT_S)
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()


def stop(processes: Sequence[psutil.Process], *, politely_s: float = END_TIMEOUT_S) -> None:
    """Wait for processes that were asked to end, then kill the rest and wait again."""
    for process in _await_end(processes, politely_s):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _await_end(processes, END_TIMEOUT_S)


def _await_end(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Those that still run after a while. psutil's own wait goes on until somebody reaps them."""
    give_up_at = time.monotonic() + timeout_s
    alive = [process for process in processes if is_live(process)]
    while alive and time.monotonic() < give_up_at:
        time.sleep(_POLL_S)
        alive = [process for process in alive if is_live(process)]
    return alive


def is_live(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def tree(pid: int) -> list[psutil.Process]:
    """A live process and its descendants; none where it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def with_home(directory: str) -> list[psutil.Process]:
    """The live processes whose $HOME is `directory`, which only those started for it have."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("HOME") == directory and is_live(process):
                found.append(process)
    return found


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used, its threads included."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def last_line(log: str) -> str:
    """The last thing that was written to a log; empty where there is nothing."""
    try:
        with open(log, "rb") as file:
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
