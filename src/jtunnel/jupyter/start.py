"""Starts a Jupyter server on the remote, or joins one that is starting, and waits until it answers.

Nothing half-started is left behind on a failure; where only the connection is lost, the server lives on
and `find` finds it. Does not choose among running servers: that is `find`.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable
from typing import Final

from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ServerError
from jtunnel.jupyter.find import missing_error, write_record
from jtunnel.jupyter.plan import Ground, Plan, make_plan
from jtunnel.jupyter.prepare import prepare
from jtunnel.jupyter.ready import EndedError, SocketRefusedError, wait_until_ready
from jtunnel.jupyter.record import Record, parse_record, record_tail
from jtunnel.jupyter.script import run_script
from jtunnel.jupyter.search import ANY_WISH, Wish, search, usable_record
from jtunnel.jupyter.server import Server
from jtunnel.jupyter.stop import end_process
from jtunnel.remote import Remote

LAUNCH_S: Final = 60.0
#: A port that was free may be taken meanwhile, and sshd may turn out to forward to ports only.
_ATTEMPTS: Final = 4
#: Gives signals that a background process of a shell ignores their usual meaning again.
_RESET: Final = """\
import sys
sys.path[:1] = []
import os, signal
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


async def start(
    remote: Remote,
    options: JupyterOptions,
    key: str,
    progress: Callable[[str], None] | None = None,
    wish: Wish = ANY_WISH,
) -> Server:
    """Start the server of profile `key`, or wait for the one that is recorded and lives.

    `progress` is told each step in a few words. Raises ElsewhereError; ServerError: `jupyter-missing`,
    `jupyter-failed` (it ended, or did not answer within 180 s), `forward-refused` (a socket was asked
    for and sshd forwards to none); ChannelError.
    """
    tell = progress or _ignore
    survey = await search(remote, options, key, wish)
    if (record := usable_record(survey, options)) is not None:
        try:
            return await _join(remote, options, key, record, tell)
        except SocketRefusedError:
            if options.listen == "socket":
                raise
    if options.start == "never":
        raise missing_error(survey.node, options, key, [])
    recorded = survey.record.server if survey.record is not None else None
    passed_over = f"{recorded.pid} {recorded.started}" if recorded is not None else ""
    for _ in range(_ATTEMPTS):
        tell("looking for Jupyter")
        ground = await prepare(remote, options, key)
        plan = await _plan(remote, ground, options, key)
        record = await _launch(remote, ground, plan, key, passed_over, here=wish.here)
        try:
            return await _join(remote, options, key, record, tell)
        except SocketRefusedError:
            if options.listen == "socket":
                raise
            tell(f"sshd on {ground.node} does not forward to sockets: starting again on a port")
        except EndedError as error:
            if not error.port_was_taken or options.remote_port is not None:
                raise
            tell("the port was taken meanwhile: starting again on another one")
    raise ServerError(
        "jupyter-failed",
        f"Jupyter did not start on {survey.node} in {_ATTEMPTS} attempts",
        f"see `jtunnel logs {key} --remote`",
    )


async def _plan(remote: Remote, ground: Ground, options: JupyterOptions, key: str) -> Plan:
    """Make the plan; where there is none, the environment that `prepare` left for it goes."""
    try:
        return make_plan(ground, options, key)
    except ServerError:
        name = ground.environment_name
        await run_script(remote, "discard", key, timeout_s=LAUNCH_S, environment_name=name)
        raise


async def _join(
    remote: Remote, options: JupyterOptions, key: str, record: Record, tell: Callable[[str], None]
) -> Server:
    """Wait for a launched server, and write down what it turned out to be; end it where it fails.

    One that has answered before is never ended here: somebody's kernels may run in it.
    """
    server = record.server
    tell(f"waiting for the Jupyter on {server.host} (pid {server.pid}) to answer at {server.target}")
    try:
        ready = await wait_until_ready(remote, server, key)
    except ServerError as error:
        if not record.ready:
            await end_process(remote, server, key, grace_s=0, group=True)
        if isinstance(error, SocketRefusedError) and options.listen != "socket":
            await run_script(remote, "refuse", key, timeout_s=LAUNCH_S)
            if record.ready:
                raise _unreachable(server, key) from None
        raise
    if not record.ready:
        await write_record(remote, key, Record(ready, record.command, ready=True))
    return ready


async def _launch(
    remote: Remote, ground: Ground, plan: Plan, key: str, passed_over: str, *, here: bool
) -> Record:
    """Start the process under the node's lock; or the record of another one that was quicker.

    `passed_over` is "PID START" of a recorded process that does not count, or empty; `here` is that of Wish.
    """
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
        user_interface=plan.user_interface,
        names=ground.names,
    )
    command = shlex.join(plan.arguments)
    report = await run_script(
        remote,
        "launch",
        key,
        timeout_s=LAUNCH_S,
        arguments=command,
        environment_name=ground.environment_name,
        interpreter=ground.interpreter,
        reset=_RESET,
        root=ground.root_dir,
        token=secrets.token_hex(24),
        token_name=plan.token_name,
        content=record_tail(Record(server, command, ready=False)),
        passed_over=passed_over,
        here="1" if here else "",
    )
    if (lock := report.one("locked")) is not None:
        raise ServerError(
            "jupyter-failed",
            f"another start for this profile does not end on {ground.node}: {lock} is held",
            "try again; if nothing else runs there, remove that file",
        )
    record = parse_record(report.data("record"))
    if record is None or report.one("failed") is not None:
        raise ServerError(
            "jupyter-failed",
            f"{report.one('failed') or 'the state record was not written'} on {ground.node}",
            "check the quota and the permissions of your home directory there",
        )
    return record


def _unreachable(server: Server, key: str) -> ServerError:
    return ServerError(
        "forward-refused",
        f"the Jupyter on {server.host} (pid {server.pid}) listens on a socket, and sshd forwards to none",
        f"save your work and end it (`jtunnel stop {key}`): the next one will listen on a port",
    )


def _ignore(_text: str) -> None:
    pass
