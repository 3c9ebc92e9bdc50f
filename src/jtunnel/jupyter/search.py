"""One search on a node: its facts, and whether the profile's server lives on this node or on another.

Nodes that share a home see each other's records. Those of other nodes are neither deleted nor trusted
with more than the name of their node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jtunnel.address import TcpAddress
from jtunnel.config.profile import JupyterOptions
from jtunnel.jupyter.record import Record
from jtunnel.jupyter.script import run_script
from jtunnel.jupyter.server import ElsewhereError, Server
from jtunnel.jupyter.survey import Survey, read_survey
from jtunnel.remote import Remote

SEARCH_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted besides the options, for a search on whichever node the connection led to.

    `last` is the server that was used until now. With `here`, a person has said that this node will do,
    wherever another server of the profile lives. `where` names the connection in messages.
    """

    last: Server | None = None
    here: bool = False
    where: str = ""


ANY_WISH: Final = Wish()


async def search(remote: Remote, options: JupyterOptions, key: str, wish: Wish) -> Survey:
    """Collect the facts of one search; changes nothing on the remote.

    Raises ElsewhereError where another node has the profile's server, and ChannelError.
    """
    pid = wish.last.pid if wish.last else ""
    root = options.directory or "~"
    survey = read_survey(await run_script(remote, "find", key, timeout_s=SEARCH_S, root=root, pid=pid))
    if not wish.here and (server := server_elsewhere(survey, options, wish.last)) is not None:
        advice = (
            f'set host = "{server.host}" in [profiles.{key}], or start another server on {survey.node} '
            f"with: jtunnel up {key}"
        )
        raise ElsewhereError(server, survey.node, advice, key=key, where=wish.where)
    return survey


def server_elsewhere(survey: Survey, options: JupyterOptions, last: Server | None) -> Server | None:
    """The server that is to be used and lives on another node: `last`, or else the one recorded last.

    Whether it still runs there cannot be seen from here. Where the one recorded here runs, that is it.
    """
    if last is not None:
        return last if survey.is_elsewhere(last) else None
    recorded = (record.server for record in survey.others if _is_wanted(record.server, options))
    newest = next(recorded, None)
    return newest if newest is not None and survey.is_elsewhere(newest) else None


def usable_record(survey: Survey, options: JupyterOptions) -> Record | None:
    """The record of this profile's server, if that process lives on this node and is on a wanted port."""
    record = survey.record
    if record is None or record.server.host != survey.node:
        return None
    if not survey.runs(record.server.pid, record.server.started):
        return None
    known = any(file.pid == record.server.pid for file in survey.runtime_files)
    if record.server.origin == "adopted" and not known:
        return None  # its token was in a file that is gone
    return record if _is_wanted(record.server, options) else None


def _is_wanted(server: Server, options: JupyterOptions) -> bool:
    target = server.target
    port = target.port if isinstance(target, TcpAddress) else None
    return options.remote_port in (None, port)
