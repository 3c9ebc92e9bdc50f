"""The commands that clients of the faulty SSH server run: real processes of this account."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping

import asyncssh

CHUNK = 65536


class Commands:
    """Runs commands with one environment, and ends those that are left."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)
        self._processes: set[asyncio.subprocess.Process] = set()

    async def run(
        self,
        command: str,
        stdin: asyncssh.SSHReader[bytes],
        stdout: asyncssh.SSHWriter[bytes],
        stderr: asyncssh.SSHWriter[bytes],
    ) -> None:
        """Run a command line, or a shell where it is empty; as with sshd, it outlives a lost connection."""
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", command) if command else ("/bin/sh",),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._env,
            start_new_session=True,
        )
        self._processes.add(process)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(_feed(stdin, process.stdin))
            draining = [
                group.create_task(_drain(process.stdout, stdout)),
                group.create_task(_drain(process.stderr, stderr)),
            ]
            await asyncio.wait(draining)
            status = await process.wait()
            feeding.cancel()
        self._processes.discard(process)
        channel = stdout.channel
        assert isinstance(channel, asyncssh.SSHServerChannel)
        with contextlib.suppress(OSError, asyncssh.Error):
            channel.exit(status if status >= 0 else 128 - status)

    async def end(self) -> None:
        """Kill what still runs."""
        for process in list(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _feed(stdin: asyncssh.SSHReader[bytes], pipe: asyncio.StreamWriter) -> None:
    """Pass a session's input on to its command; a lost connection is the input's end."""
    try:
        while data := await stdin.read(CHUNK):
            pipe.write(data)
            await pipe.drain()
    except (OSError, asyncssh.Error):
        pass
    finally:
        pipe.close()


async def _drain(pipe: asyncio.StreamReader, output: asyncssh.SSHWriter[bytes]) -> None:
    """Pass a command's output on to its session, as long as that is there."""
    while data := await pipe.read(CHUNK):
        with contextlib.suppress(OSError, asyncssh.Error):
            output.write(data)
            await output.drain()
