"""jtunnel as a contender: the installed command, with a daemon and a config of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import psutil

from bench import processes
from bench.failure import BenchError
from bench.place import HOST, Place

COMMAND_TIMEOUT_S: Final = 120.0


class Jtunnel:
    """jtunnel with a profile for each of `ports`, which it forwards to the far side."""

    def __init__(self, place: Place, ports: Sequence[int], *, share: bool = True) -> None:
        self.place = place
        self.ports = ports
        self.names = [f"t{number}" for number in range(len(ports))]
        with open(place.env["JTUNNEL_CONFIG"], "w") as file:
            file.writelines(
                f"[profiles.{name}]\n"
                f'host = "{HOST}"\n'
                f'ssh_config = "{place.ssh_config}"\n'
                f"share = {'true' if share else 'false'}\n"
                f'forwards = ["127.0.0.1:{port}:127.0.0.1:{place.far_port}"]\n'
                for name, port in zip(self.names, ports, strict=True)
            )

    def up(self) -> None:
        """Bring all tunnels up, starting the daemon if need be, and wait until they are."""
        self.run("up", "--all")

    def down(self) -> None:
        """Drop all tunnels, and with them their SSH connections; the daemon stays."""
        self.run("down", "--all")

    def shut_down(self) -> None:
        """End the daemon; by force where it does not end by itself."""
        with contextlib.suppress(BenchError):
            self.run("shutdown")
        # One that has only just been started does not answer yet.
        daemons = [process for process in processes.with_home(self.place.directory) if _is_daemon(process)]
        for daemon in daemons:
            with contextlib.suppress(psutil.NoSuchProcess):
                daemon.terminate()
        processes.stop(daemons)

    def daemon_pid(self) -> int:
        """The daemon's process number."""
        document: dict[str, Any] = json.loads(self.run("status", "--json"))
        pid: int = document["daemon"]["pid"]
        return pid

    def run(self, *words: str) -> str:
        """Run one command to its end; return what it printed. Raises BenchError where it failed."""
        ended = subprocess.run(
            self.argv(*words),
            env=self.place.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            start_new_session=True,
        )
        if ended.returncode:
            said = (ended.stderr or ended.stdout).strip().replace("\n", " | ")
            raise BenchError(f"jtunnel {words[0]} exits {ended.returncode}: {said}")
        return ended.stdout

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start one command and leave it running."""
        return processes.start(self.argv(*words), self.place.env, self.place.log)

    @staticmethod
    def argv(*words: str) -> list[str]:
        """The argument list of one command."""
        return [os.path.join(sys.prefix, "bin", "jtunnel"), *words]


@contextlib.contextmanager
def running_jtunnel(place: Place, ports: Sequence[int], *, share: bool = True) -> Iterator[Jtunnel]:
    """All tunnels up for as long as the block runs, then no daemon any more."""
    jtunnel = Jtunnel(place, ports, share=share)
    try:
        jtunnel.up()
        yield jtunnel
    finally:
        jtunnel.shut_down()


def _is_daemon(process: psutil.Process) -> bool:
    try:
        return "daemon" in process.cmdline()
    except psutil.Error:
        return False
