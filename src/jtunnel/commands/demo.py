"""`jtunnel demo`: the whole thing on this machine, against a throw-away SSH server, without a trace.

The server is embedded; daemon, client, JupyterLab and the way it is started are the real ones,
only in directories of their own that go away at the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import psutil

from jtunnel.client.views.render import activity
from jtunnel.errors import EXIT_DONE, EXIT_FAILED
from jtunnel.ssh.loopback_server import LoopbackServer
from jtunnel.status import StatusDocument

#: Seconds of service between two cuts, and of each cut, with --outage.
_OUTAGE_EVERY_S: Final = 30.0
_OUTAGE_S: Final = 10.0
_START_TIMEOUT_S: Final = 180
_END_TIMEOUT_S: Final = 30.0
_GRACE_S: Final = 5.0

_CONFIG: Final = """\
[profiles.{name}]
host = "127.0.0.1"
user = "demo"
port = {port}
identity_files = ["{home}/.ssh/id_ed25519"]
ssh_config = false

[profiles.{name}.jupyter]
local_port = "auto"
allow_root = true
"""


def run(environ: Mapping[str, str], *, outage: bool) -> int:
    """Run the demo until Ctrl-C; return the exit code."""
    # /tmp and not $TMPDIR: on macOS the latter is too long for a socket's path.
    directory = tempfile.mkdtemp(prefix="jtunnel-demo-", dir="/tmp")
    try:
        return asyncio.run(_Demo(directory, environ).run(outages=outage))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class _Demo:
    """The demo's directories, its server, and what it starts."""

    def __init__(self, directory: str, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._name = os.path.basename(directory).removeprefix("jtunnel-")
        self._local = os.path.join(directory, "local")
        self._remote = os.path.join(directory, "remote")
        for path in (self._local, self._remote, os.path.join(self._local, ".ssh")):
            os.mkdir(path, 0o700)
        base = {name: value for name, value in environ.items() if not _is_personal(name)}
        programs = os.path.dirname(sys.executable)
        self._server = LoopbackServer(
            self._remote, {**base, "PATH": f"{programs}{os.pathsep}{base.get('PATH', os.defpath)}"}
        )
        self._environ = {
            **base,
            "HOME": self._local,
            "JTUNNEL_CONFIG": os.path.join(self._local, "config.toml"),
            "JTUNNEL_RUNTIME_DIR": os.path.join(self._local, "run"),
            "JTUNNEL_STATE_DIR": os.path.join(self._local, "state"),
        }
        self._stopping = asyncio.Event()

    async def run(self, *, outages: bool) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopping.set)
        await self._server.listen()
        self._write_files()
        _say(
            f"a throw-away SSH server listens on 127.0.0.1:{self._server.port}; its files: {self._directory}"
        )
        try:
            code = await self._client("up", self._name, "--timeout", str(_START_TIMEOUT_S))
            if code == EXIT_DONE and not self._stopping.is_set():
                _say("open this in a browser; Ctrl-C ends the demo and removes everything:")
                await self._client("url", self._name)
                await self._show(outages=outages)
                return EXIT_DONE
            return EXIT_DONE if self._stopping.is_set() else code or EXIT_FAILED
        finally:
            await self._clean_up()

    async def _show(self, *, outages: bool) -> None:
        """Show live status until somebody stops the demo."""
        async with asyncio.TaskGroup() as tasks:
            cutting = tasks.create_task(self._cut_now_and_then()) if outages else None
            # Not the table: it takes the whole screen, and the address above has to stay to be read.
            await self._client("status", "--watch", "--json", reader=_say_changes)
            if cutting:
                cutting.cancel()

    async def _cut_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_OUTAGE_EVERY_S)
            await self._server.cut()
            await asyncio.sleep(_OUTAGE_S)
            await self._server.listen()

    async def _clean_up(self) -> None:
        """End the server, the daemon and whatever else was started, in this order."""
        _say("ending the demo…")
        await self._server.listen()
        for command in (("stop", self._name, "--force"), ("shutdown",)):
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_TIMEOUT_S):
                    await self._client(*command, quiet=True, stoppable=False)
        await self._server.cut()
        await self._server.end_commands()
        await asyncio.to_thread(_end_processes, (self._local, self._remote))
        _remove_run_files(self._name)
        _say("nothing is left of it")

    def _write_files(self) -> None:
        """What a person would have: a config, a key, and the host's key in known_hosts."""
        config = _CONFIG.format(name=self._name, port=self._server.port, home=self._local)
        key = self._server.user_key.export_private_key("openssh").decode()
        for path, content in (
            (self._environ["JTUNNEL_CONFIG"], config),
            (os.path.join(self._local, ".ssh", "id_ed25519"), key),
            (os.path.join(self._local, ".ssh", "known_hosts"), self._server.known_hosts_line),
        ):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(content)

    async def _client(
        self,
        *arguments: str,
        quiet: bool = False,
        stoppable: bool = True,
        reader: Callable[[asyncio.StreamReader], Coroutine[Any, Any, None]] | None = None,
    ) -> int:
        """Run the real client; a stop of the demo ends it.

        What it says is shown, unless `reader` takes it or it is to be `quiet`.
        """
        sink = asyncio.subprocess.DEVNULL if quiet else None
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "jtunnel", *arguments),
            env=self._environ,
            stdout=asyncio.subprocess.PIPE if reader else sink,
            stderr=sink,
            # Ctrl-C is for the demo: a client would say what stays wanted, and the last ones have to work.
            process_group=0,
        )
        try:
            if not stoppable:
                return await child.wait()
            async with asyncio.TaskGroup() as tasks:
                if reader and child.stdout:
                    tasks.create_task(reader(child.stdout))
                ended = tasks.create_task(child.wait())
                stopped = tasks.create_task(self._stopping.wait())
                await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
                stopped.cancel()
                _end(child)
            return ended.result()
        finally:
            _end(child)


def _end(child: asyncio.subprocess.Process) -> None:
    """Not by SIGINT, which a Python that is just starting answers with a traceback."""
    if child.returncode is None:
        with suppress(ProcessLookupError):
            child.terminate()


def _is_personal(name: str) -> bool:
    """Whether a variable would lead the demo to the user's own files, agent or servers."""
    return name.startswith(("JTUNNEL_", "JUPYTER_", "XDG_", "SSH_")) or name in ("HOME", "NOTIFY_SOCKET")


async def _say_changes(snapshots: asyncio.StreamReader) -> None:
    """Say what the demo's tunnel does whenever that changes; `snapshots` are those of `status --json`."""
    said = ""
    async for line in snapshots:
        document: StatusDocument = json.loads(line)
        doing = activity(document["tunnels"][0])
        if doing != said:
            said = doing
            _say(f"{time.strftime('%H:%M:%S')}  {doing}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _end_processes(homes: Sequence[str]) -> None:
    """End every process of this user whose home directory is one of the demo's."""
    left: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("HOME") in homes:
                process.terminate()
                left.append(process)
    _, alive = psutil.wait_procs(left, timeout=_GRACE_S)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=_GRACE_S)


def _remove_run_files(name: str) -> None:
    """Remove lock and socket from the node's directory for such, and that if it is empty then."""
    directory = f"/tmp/jtunnel-{os.getuid()}"  # noqa: S108  (the one that jupyter/scripts use)
    with suppress(OSError):
        for entry in os.scandir(directory):
            if name in entry.name:
                os.unlink(entry.path)
        os.rmdir(directory)
