"""Lists the Jupyter servers of this user on a node, and asks each how it is; asking does not count as use.

Chooses none, starts none and changes nothing there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import JTunnelError, one_line
from jtunnel.jupyter.introduction import introduce
from jtunnel.jupyter.kernels import with_busy
from jtunnel.jupyter.probe import ask_status
from jtunnel.jupyter.seen import Found, see
from jtunnel.remote import Remote
from jtunnel.service.script import file_name
from jtunnel.service.search import look
from jtunnel.service.server import Answer, Server
from jtunnel.service.survey import Survey, start_order
from jtunnel.status import ElsewhereListing, ServerListing, ServersDocument

#: How many servers are asked at once: sshd counts channels, 10 as it comes (MaxSessions).
_AT_ONCE: Final = 4
_ANSWER_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Scene:
    """One look at a node: the facts, and the servers that they show, in the order of their starts."""

    survey: Survey
    servers: tuple[Found, ...]


async def look_around(remote: Remote, options: JupyterOptions, key: str) -> Scene:
    """See which servers run on the node; whether they answer is not asked. Raises ChannelError."""
    survey = await look(remote, options, key, "jupyter", away=True)
    found = sorted(see(survey, key), key=lambda each: start_order(each.started))
    return Scene(survey, tuple(found))


async def list_servers(remote: Remote, options: JupyterOptions, key: str) -> ServersDocument:
    """All servers of this user on the node, and what profiles have on others. Raises ChannelError."""
    scene = await look_around(remote, options, key)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def listed(found: Found) -> ServerListing:
        async with turns:
            return await _ask(remote, scene.survey, found, key)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(listed(found)) for found in scene.servers]
    return ServersDocument(
        name=key,
        node=scene.survey.node,
        servers=[task.result() for task in tasks],
        elsewhere=_elsewhere(scene.survey),
    )


async def _ask(remote: Remote, survey: Survey, found: Found, key: str) -> ServerListing:
    if found.problem or found.target is None:
        return _listing(survey, found, key, None, Answer(), found.problem)
    server: Server | None = found.server(survey, key)
    answer, problem = Answer(), ""
    try:
        assert server is not None
        server = await introduce(remote, survey, server)
        if survey.owned(server.target) and not server.asks_password_only:
            answer = await ask_status(remote, server, timeout_s=_ANSWER_S)
            answer = await with_busy(remote, server, answer, timeout_s=_ANSWER_S)
    except JTunnelError as error:
        problem = error.message
    return _listing(survey, found, key, server, answer, problem)


def _listing(
    survey: Survey, found: Found, key: str, server: Server | None, answer: Answer, problem: str
) -> ServerListing:
    file = found.file
    own = file_name(key)
    profile = key if found.started_for == own else found.started_for
    version = server.version if server and server.version else file.version if file else None
    return ServerListing(
        pid=found.pid,
        host=survey.node,
        version=version,
        environment=one_line(found.process.environment) or None,
        target=one_line(str(found.target)) if found.target else None,
        root_dir=(one_line(file.root_dir) if file else "") or None,
        started_at=_utc(survey, found.started),
        kernels=answer.kernels,
        busy=answer.busy,
        last_activity=answer.last_activity,
        origin="jtunnel" if found.started_for else "other",
        profile=one_line(profile) or None,
        used_by=[key if name == own else one_line(name) for name in found.used_by],
        used=own in found.used_by,
        # Where there is a token, nobody is asked for the password.
        password=server.asks_password_only if server else bool(file and file.password and not file.token),
        secure=bool(file and file.secure),
        problem=problem or None,
    )


def _utc(survey: Survey, started: str) -> str | None:
    seconds = survey.clock.time_of(started) if survey.clock else None
    with contextlib.suppress(OverflowError, ValueError):
        if seconds is not None:
            return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return None


def _elsewhere(survey: Survey) -> list[ElsewhereListing]:
    """What profiles have recorded on other nodes that share this home."""
    records: Sequence[tuple[str, Server]] = [(name, record.server) for name, record in survey.away]
    return [
        ElsewhereListing(host=server.host, profile=one_line(name), pid=server.pid, target=str(server.target))
        for name, server in records
        if survey.is_elsewhere(server)
    ]
