"""Starts one detached process on the remote, under the node's lock, with its record; does not wait for it."""

from __future__ import annotations

import secrets
import shlex
from typing import Final

from jtunnel.errors import ServerError, one_line
from jtunnel.remote import Remote
from jtunnel.service.ground import Ground
from jtunnel.service.record import Record, parse_record, record_tail
from jtunnel.service.script import Report, run_script
from jtunnel.service.server import Server
from jtunnel.service.service import Plan, Startable

LAUNCH_S: Final = 60.0
#: Gives signals that a background process of a shell ignores their usual meaning again.
RESET: Final = """\
import sys
sys.path[:1] = []
import os, signal
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


async def launch(
    remote: Remote, ground: Ground, plan: Plan, service: Startable, passed_over: str, *, here: bool
) -> Record:
    """Start the process under the node's lock; or the record of another one that was quicker.

    `passed_over` is "PID START" of a recorded process that does not count, or empty; `here` is that of Wish.
    Raises ServerError where it could not be started, and then nothing of it is left; ChannelError.
    """
    key = service.key
    server = Server(
        target=plan.target,
        base_url="/",
        token="",
        pid=0,
        started="",
        host=ground.node,
        version=ground.versions.get("jupyter_server"),
        root_dir=ground.root_dir,
        origin="started",
        log=ground.log,
        environment=ground.environment,
        user_interface=plan.user_interface,
        names=ground.names,
    )
    command = shlex.join(plan.arguments)
    report = await run_script(
        remote,
        "launch",
        key,
        kind=service.kind,
        timeout_s=LAUNCH_S,
        arguments=command,
        environment_name=ground.environment_name,
        interpreter=ground.interpreter,
        reset=RESET,
        root=ground.root_dir,
        token=secrets.token_hex(24),
        token_name=plan.token_name,
        content=record_tail(Record(server, command, ready=False)),
        passed_over=passed_over,
        here="1" if here else "",
    )
    record = parse_record(report.data("record"))
    if (problem := _problem(report, ground.node, service.name)) is not None:
        raise problem
    if record is None:
        raise ServerError(
            "jupyter-failed",
            f"the state record on {ground.node} vanished as soon as it was written",
            f"try again: jtunnel up {service.name}",
        )
    return record


def _problem(report: Report, node: str, name: str) -> ServerError | None:
    """Why nothing was started, if that is so."""
    if (lock := report.one("locked")) is not None:
        return ServerError(
            "jupyter-failed",
            f"another start for this profile does not end on {node}: {lock} is held",
            "try again; if nothing else runs there, remove that file",
        )
    if report.one("ends_at_logout") is not None:
        return ServerError(
            "jupyter-failed",
            f"systemd on {node} ends your processes at logout (KillUserProcesses=yes) and lingering is off",
            f"allow it there with `loginctl enable-linger`, then `jtunnel up {name}`",
        )
    if (failed := report.one("failed")) is not None:
        why = one_line(report.one("why") or "")
        return ServerError(
            "jupyter-failed",
            f"{one_line(failed)} on {node}" + (f": {why}" if why else ""),
            "check the quota and the permissions of your home directory there",
        )
    return None
