"""Starts a service on the remote, or joins one that is starting, and waits until it answers.

Nothing half-started is left behind on a failure; where only the connection is lost, the server lives on
and the next search finds it. Does not choose among running servers.
"""

from __future__ import annotations

from typing import Final

from jtunnel.errors import ServerError
from jtunnel.remote import Remote
from jtunnel.service.end import end_process
from jtunnel.service.ground import Ground
from jtunnel.service.keep import write_record
from jtunnel.service.launch import LAUNCH_S, launch
from jtunnel.service.ready import EndedError, SocketRefusedError
from jtunnel.service.record import Record
from jtunnel.service.script import run_script
from jtunnel.service.search import Wish
from jtunnel.service.server import Server
from jtunnel.service.service import Plan, Startable, Tell
from jtunnel.service.survey import Survey

#: A port that was free may be taken meanwhile, and sshd may turn out to forward to ports only.
_ATTEMPTS: Final = 4


async def start(remote: Remote, service: Startable, tell: Tell, wish: Wish) -> Server:
    """Start the server of a profile, or wait for the one that is recorded and lives.

    `tell` is told each step in a few words. Raises ElsewhereError; ServerError: `jupyter-missing`,
    `jupyter-failed` (it ended, or did not answer within 180 s), `forward-refused` (a socket was asked
    for and sshd forwards to none); ChannelError.
    """
    survey = await service.search(remote, wish)
    if (record := service.usable_record(survey)) is not None:
        try:
            return await _join(remote, service, record, tell)
        except SocketRefusedError:
            if service.is_bound_to_place:
                raise
    if not service.may_start:
        raise service.missing(survey)
    await _end_unused(remote, service, survey)
    recorded = survey.record.server if survey.record is not None else None
    passed_over = f"{recorded.pid} {recorded.started}" if recorded is not None else ""
    for _ in range(_ATTEMPTS):
        tell(f"looking for {service.noun}")
        ground = await service.prepare(remote)
        plan = await _plan(remote, ground, service)
        record = await launch(remote, ground, plan, service, passed_over, here=wish.here)
        try:
            return await _join(remote, service, record, tell)
        except SocketRefusedError:
            if service.is_bound_to_place:
                raise
            tell(f"sshd on {ground.node} does not forward to sockets: starting again on a port")
        except EndedError as error:
            if not error.port_was_taken or service.is_bound_to_place:
                raise
            tell("the port was taken meanwhile: starting again on another one")
    raise ServerError(
        "jupyter-failed",
        f"{service.noun} did not start on {survey.node} in {_ATTEMPTS} attempts",
        f"see `jtunnel logs {service.name} --remote`",
    )


async def _end_unused(remote: Remote, service: Startable, survey: Survey) -> None:
    """End what an earlier config began to start, and nobody has used: nobody would know of it any more."""
    record = survey.record
    if record is None or record.ready or record.server.origin != "started":
        return
    server = record.server
    if server.host == survey.node and survey.runs(server.pid, server.started):
        await end_process(remote, server, service.key, grace_s=0, group=True, kind=service.kind)


async def _plan(remote: Remote, ground: Ground, service: Startable) -> Plan:
    """The plan; where there is none, the environment that was found goes with it, for it may hold secrets."""
    try:
        return service.plan(ground)
    except ServerError:
        name = ground.environment_name
        await run_script(remote, "discard", service.key, timeout_s=LAUNCH_S, environment_name=name)
        raise


async def _join(remote: Remote, service: Startable, record: Record, tell: Tell) -> Server:
    """Wait for a launched server, and write down what it turned out to be; end it where it fails.

    One that has answered before is never ended here: somebody's kernels may run in it.
    """
    server, key = record.server, service.key
    tell(f"waiting for the {service.noun} on {server.host} (pid {server.pid}) to answer at {server.target}")
    try:
        ready = await service.wait_until_ready(remote, server)
    except ServerError as error:
        if not record.ready:
            await end_process(remote, server, key, grace_s=0, group=True, kind=service.kind)
        if isinstance(error, SocketRefusedError) and not service.is_bound_to_place:
            await run_script(remote, "refuse", key, timeout_s=LAUNCH_S)
            if record.ready:
                raise _unreachable(service.noun, server, service.name) from None
        raise
    if not record.ready:
        await write_record(remote, key, Record(ready, record.command, ready=True))
    return ready


def _unreachable(noun: str, server: Server, name: str) -> ServerError:
    return ServerError(
        "forward-refused",
        f"the {noun} on {server.host} (pid {server.pid}) listens on a socket, and sshd forwards to none",
        f"save your work and end it (`jtunnel stop {name}`): the next one will listen on a port",
    )
