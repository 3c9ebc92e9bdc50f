"""One search on a node: its facts, and whether the profile's server lives on this node or on another.

Nodes that share a home see each other's records. Those of other nodes are neither deleted nor trusted
with more than the name of their node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from jtunnel.address import TcpAddress
from jtunnel.config.profile import Environment
from jtunnel.remote import Remote
from jtunnel.service.record import Record
from jtunnel.service.script import Kind, run_script
from jtunnel.service.server import ElsewhereError, Server
from jtunnel.service.survey import Survey, read_survey

SEARCH_S: Final = 60.0


class Options(Protocol):
    """What a search reads of a profile's options."""

    @property
    def directory(self) -> str | None: ...
    @property
    def remote_port(self) -> int | None: ...
    @property
    def environment(self) -> Environment: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted besides the options, for a search on whichever node the connection led to.

    `last` is the server that was used until now. With `here`, a person has said that this node will do,
    wherever another server of the profile lives. `where` names the connection in messages. With `stays`, no
    person has said that another server may take the place of `last`, whose kernels somebody may look for.
    """

    last: Server | None = None
    here: bool = False
    where: str = ""
    stays: bool = False


ANY_WISH: Final = Wish()


async def search(remote: Remote, options: Options, key: str, wish: Wish, kind: Kind = "jupyter") -> Survey:
    """Collect the facts of one search; changes nothing on the remote.

    Raises ElsewhereError where another node has the profile's server, and ChannelError.
    """
    survey = await look(remote, options, key, kind, pid=wish.last.pid if wish.last else None)
    check_elsewhere(survey, options, key, wish)
    return survey


async def look(
    remote: Remote, options: Options, key: str, kind: Kind, *, pid: int | None = None, away: bool = False
) -> Survey:
    """Collect the facts, those about the process `pid` too.

    With `away`, what other nodes have recorded as well. Raises ChannelError.
    """
    report = await run_script(
        remote,
        "find",
        key,
        kind=kind,
        timeout_s=SEARCH_S,
        root=options.directory or "~",
        pid="" if pid is None else pid,
        python=options.environment.python or "",
        conda_env=options.environment.conda_env or "",
        venv=options.environment.venv or "",
        away="1" if away else "",
    )
    return read_survey(report)


def check_elsewhere(survey: Survey, options: Options, key: str, wish: Wish) -> None:
    """Raise ElsewhereError where another node has the profile's server."""
    if not wish.here and (server := server_elsewhere(survey, options, wish.last)) is not None:
        advice = (
            f'set host = "{server.host}" in [profiles.{key}], or start another server on {survey.node} '
            f"with: jtunnel up {key}"
        )
        raise ElsewhereError(server, survey.node, advice, key=key, where=wish.where)


def server_elsewhere(survey: Survey, options: Options, last: Server | None) -> Server | None:
    """The server that is to be used and lives on another node: `last`, or else the one recorded last.

    Whether it still runs there cannot be seen from here. Where the one recorded here runs, that is it.
    """
    if last is not None:
        return last if survey.is_elsewhere(last) else None
    recorded = (record.server for record in survey.others if _is_wanted(record.server, options))
    newest = next(recorded, None)
    return newest if newest is not None and survey.is_elsewhere(newest) else None


def usable_record(survey: Survey, options: Options) -> Record | None:
    """The record of this profile's server, if that process lives on this node and is on a wanted port."""
    record = survey.record
    if record is None or record.server.host != survey.node:
        return None
    if not survey.runs(record.server.pid, record.server.started):
        return None
    if record.server.origin == "adopted" and not _opens(record.server, survey):
        return None  # its token was in a file that is gone
    return record if _is_wanted(record.server, options) else None


def _opens(server: Server, survey: Survey) -> bool:
    """It is known by which token an adopted server is used, or that a person types its password."""
    listed = any(file.pid == server.pid for file in survey.runtime_files)
    return listed or server.password or survey.known_token(server.pid, server.started) != ""


def _is_wanted(server: Server, options: Options) -> bool:
    target = server.target
    port = target.port if isinstance(target, TcpAddress) else None
    return options.remote_port in (None, port)
