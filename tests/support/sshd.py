"""OpenSSH's sshd on a loopback port, with a config of its own. Makes no accounts and no client's files."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import psutil

from tests.support import processes
from tests.support.accounts import Account
from tests.support.home import SYSTEM_PATH
from tests.support.keys import Key
from tests.support.process_log import ProcessLog, end_line
from tests.support.streams import free_port

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
PORT_TRIES = 5

Options = Mapping[str, str | Sequence[str]]


class Sshd:
    """One sshd; a context manager that starts it, and at the end stops it with all its sessions.

    Without a `port`, the first start picks a free one. `entry` are words that become the command after
    them somewhere else, such as in a `Node`. `options` are sshd_config(5)'s, several values standing for
    several lines; `match` is appended as it is, for Match blocks. `env` is set in every session, together
    with what `account` needs.
    """

    def __init__(
        self,
        host_key: Key,
        account: Account,
        *,
        authorized: Sequence[Key] = (),
        options: Options | None = None,
        match: str = "",
        env: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        entry: Sequence[str] = (),
    ) -> None:
        self.host_key = host_key
        self.account = account
        self.options = dict(options or {})
        self.match = match
        self.env = {**account.session_env, **(env or {})}
        self.host = host
        self.port = port
        self.entry = entry
        self.log = ProcessLog()
        # The account itself reads its authorized keys, so the directory is open to all.
        self._directory = tempfile.mkdtemp(prefix="jt-sshd-", dir="/tmp")
        os.chmod(self._directory, 0o755)
        for key in authorized:
            self.authorize(key)
        self._process: subprocess.Popen[str] | None = None
        self._outlived: list[psutil.Process] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self._directory)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop it, and remove its directory."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self._directory)

    def authorize(self, key: Key, prefix: str = "") -> None:
        """Let a key log in; `prefix` is authorized_keys(5)'s options, such as `command="…"`."""
        with open(os.path.join(self._directory, "authorized_keys"), "a") as file:
            file.write(f"{prefix} {key.public}\n".lstrip())

    def start(self) -> None:
        """Start it and return once it listens; a restarted one listens where it did before."""
        assert self._process is None, "it is running"
        for _ in range(PORT_TRIES):
            port = self.port or free_port(self.host)
            if self._try_start(port):
                self.port = port
                return
        raise AssertionError(f"sshd finds no free port:\n{self.log.tail()}")

    def stop(self) -> None:
        """End the listener in order, then its sessions at once."""
        self._end_listener(signal.SIGTERM)
        self.drop_sessions()
        self.log.join()

    def kill(self) -> None:
        """End the listener and its connections at once, as a machine that dies; their commands go on."""
        self._end_listener(signal.SIGKILL)
        self.drop_sessions()

    def restart(self, *, keep_sessions: bool = False, options: Options | None = None) -> None:
        """Start anew on the same port, as a reboot or as `systemctl restart ssh`, which keeps sessions."""
        if options is not None:
            self.options.update(options)
        self._end_listener(signal.SIGTERM)
        if not keep_sessions:
            self.drop_sessions()
        self.start()

    def drop_sessions(self) -> None:
        """End every connection at once; the listener goes on."""
        processes.kill(self.sessions())

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """While this lasts nothing of sshd runs: the kernel still answers TCP, nobody answers SSH."""
        assert self._process is not None, "it is not running"
        listener = psutil.Process(self._process.pid)
        listener.suspend()
        frozen = [listener, *self.sessions()]
        for process in frozen[1:]:
            process.suspend()
        try:
            yield
        finally:
            for process in frozen:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def sessions(self) -> list[psutil.Process]:
        """sshd's own processes that serve connections, also those that outlived their listener."""
        found = {process for process in self._outlived if processes.is_live(process)}
        if self._process is not None and self._process.poll() is None:
            found.update(psutil.Process(self._process.pid).children(recursive=True))
        for process in list(found):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.update(process.children(recursive=True))
        return [process for process in found if _is_sshd(process)]

    def _end_listener(self, number: signal.Signals) -> None:
        """Signal the listener and wait for its end, remembering the sessions that it leaves."""
        if self._process is None:
            return
        listener = self._process
        listener.send_signal(signal.SIGSTOP)
        self._outlived = self.sessions()
        listener.send_signal(number)
        listener.send_signal(signal.SIGCONT)
        try:
            listener.wait(STOP_TIMEOUT_S)
        finally:
            self._process = None

    def _try_start(self, port: int) -> bool:
        """Start it on `port`; False where another process took the port meanwhile."""
        config = os.path.join(self._directory, "sshd_config")
        with open(config, "w") as file:
            file.write(self._configuration(port))
        if os.geteuid() == 0 and sys.platform == "linux":
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # sshd's privilege separation directory
        process = subprocess.Popen(
            [*self.entry, _find_sshd(), "-D", "-e", "-f", config],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", processes.MARK: os.environ[processes.MARK]},
        )
        assert process.stderr is not None
        mark = self.log.follow(process.stderr, process.pid)
        outcome = rf"Server listening on .* port {port}\b|Cannot bind any address|{end_line(process.pid)}"
        started = self.log.wait_for(outcome, START_TIMEOUT_S, mark)
        if "Server listening" in started:
            self._process = process
            return True
        process.kill()
        process.wait(STOP_TIMEOUT_S)
        if "Cannot bind" in started:
            return False
        raise AssertionError(f"sshd does not start:\n{self.log.tail()}")

    def _configuration(self, port: int) -> str:
        session_env = {processes.MARK: os.environ[processes.MARK], **self.env}
        settings: dict[str, str | Sequence[str]] = {
            "ListenAddress": f"{self.host}:{port}",
            "HostKey": self.host_key.path,
            "AuthorizedKeysFile": os.path.join(self._directory, "authorized_keys"),
            "SetEnv": " ".join(f'"{name}={value}"' for name, value in session_env.items()),
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",
            "PermitUserRC": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "LogLevel": "VERBOSE",
        }
        if _version() >= (9, 8):
            settings["PerSourcePenalties"] = "no"  # tests fail logins from one address on purpose
        settings |= self.options
        lines = []
        for name, values in settings.items():
            lines += [f"{name} {value}" for value in ([values] if isinstance(values, str) else values)]
        return "\n".join([*lines, self.match, ""])


def _is_sshd(process: psutil.Process) -> bool:
    """Whether it is sshd itself (`sshd`, since 9.8 `sshd-session`), not what a session runs."""
    try:
        return process.name().startswith("sshd")
    except psutil.NoSuchProcess:
        return False


def _find_sshd() -> str:
    found = shutil.which("sshd", path=SYSTEM_PATH)
    if found is None:
        raise RuntimeError("there is no sshd; install it: sudo apt-get install -y openssh-server")
    return found


@functools.cache
def _version() -> tuple[int, int]:
    """OpenSSH's version; sshd tells it too where it does not know `-V` yet."""
    told = subprocess.run([_find_sshd(), "-V"], capture_output=True, text=True, timeout=START_TIMEOUT_S)
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", told.stderr + told.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)
