"""Finds a running Jupyter server of this user on the remote, and shows that it is his before using it.

Reads Jupyter's runtime files itself: `jupyter server list` deletes the entries of other nodes. Starts
nothing; writes down which server was adopted, so that the next search chooses the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ServerError
from jtunnel.jupyter.choice import choose
from jtunnel.jupyter.introduction import completed, introduce, meet
from jtunnel.jupyter.seen import see
from jtunnel.remote import Remote
from jtunnel.service.keep import write_record
from jtunnel.service.record import Record
from jtunnel.service.search import ANY_WISH, Wish, search, usable_record
from jtunnel.service.server import Server
from jtunnel.service.survey import Survey


async def find(remote: Remote, options: JupyterOptions, key: str, wish: Wish = ANY_WISH) -> Server | None:
    """Find the server to use for profile `key`; None where one is to be started.

    First the one recorded for this profile on this node; it may come with `answering` False: then
    `start` waits for it. Else one that a crashed run for this profile has left; else one that runs in the
    wanted directory and environment; without a directory, one in the home directory, else the newest. With a
    remote_port only a server on that port counts.
    Raises ElsewhereError, ServerError `jupyter-missing` where `start = "never"` and there is none, and
    ChannelError.
    """
    survey = await search(remote, options, key, wish)
    if (record := usable_record(survey, options)) is not None:
        return await _recorded_server(remote, survey, record, key)
    choice = choose(see(survey, key), survey, options, key)
    passed_over = list(choice.passed_over)
    for found in choice.candidates:
        if wish.stays and wish.last is not None and found.target != wish.last.target:
            passed_over.append(f"pid {found.pid}: not the one that was used")
            continue
        try:
            server = await meet(remote, survey, found, key)
        except ServerError as error:
            passed_over.append(f"pid {found.pid}: {error.message}")
            continue
        await write_record(remote, key, Record(server, command=None, ready=True))
        return server
    if options.start == "never":
        raise missing_error(survey.node, options, key, passed_over)
    return None


async def _recorded_server(remote: Remote, survey: Survey, record: Record, key: str) -> Server:
    server = completed(record.server, survey)
    try:
        introduced = await introduce(remote, survey, server)
    except ServerError:
        return replace(server, answering=False)
    if introduced.certificate != record.server.certificate:
        await write_record(remote, key, replace(record, server=introduced))
    return introduced


def missing_error(node: str, options: JupyterOptions, key: str, passed_over: Iterable[str]) -> ServerError:
    """The problem of a profile that only adopts, and found nothing."""
    where = f" on port {options.remote_port}" if options.remote_port is not None else ""
    where += f" in {options.directory}" if options.directory is not None else ""
    others = "; ".join(passed_over)
    return ServerError(
        "jupyter-missing",
        f"no Jupyter server to adopt runs on {node}{where}{f' ({others})' if others else ''}",
        f"start one there, see `jtunnel servers {key}`, or "
        f'set start = "if-absent" in [profiles.{key}.jupyter]',
    )
