"""Which of the servers on a node a profile may use by itself, the best first, and why not the others.

Pure. What a profile's own crashed run has left comes first. A server that jtunnel started for another profile
is shared only where this one would start the same.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from jtunnel.address import TcpAddress
from jtunnel.config.profile import Environment, JupyterOptions
from jtunnel.errors import one_line
from jtunnel.jupyter.seen import Found
from jtunnel.service.process import Process
from jtunnel.service.script import file_name
from jtunnel.service.survey import Survey, start_order


@dataclass(frozen=True, slots=True)
class Choice:
    """`candidates` are to be tried in turn; `passed_over` says of each other one why it is left alone."""

    candidates: tuple[Found, ...]
    passed_over: tuple[str, ...]


def choose(servers: Iterable[Found], survey: Survey, options: JupyterOptions, key: str) -> Choice:
    """Sort out servers by what a profile wants; the newest first of those that are equally good."""
    newest_first = sorted(servers, key=lambda found: start_order(found.started), reverse=True)
    own = file_name(key)
    reasons = {found.pid: why_not(found, survey, options, own) for found in newest_first}
    candidates = [found for found in newest_first if not reasons[found.pid]]
    candidates.sort(key=lambda found: _rank(found, survey, options, own))
    passed_over = [f"pid {found.pid}: {why}" for found in newest_first if (why := reasons[found.pid])]
    return Choice(tuple(candidates), tuple(passed_over))


def why_not(found: Found, survey: Survey, options: JupyterOptions, own: str) -> str:
    """Why the profile whose file name is `own` does not use it unasked; empty where it may."""
    if found.problem or found.target is None:
        return found.problem
    if options.remote_port is not None:
        port = found.target.port if isinstance(found.target, TcpAddress) else None
        return "" if port == options.remote_port else f"it listens at {found.target}"
    root = posixpath.normpath(found.file.root_dir) if found.file else ""
    if options.directory is not None and root and root not in survey.roots:
        return f"its directory is {one_line(root)}"
    if not in_environment(found.process, survey, options.environment):
        return f"its environment is {one_line(found.process.environment) or 'not known'}"
    if options.directory is None and found.process.home and not _is_at_home(found, survey):
        return f"its home directory is {one_line(found.process.home)}"
    others = found.started_for not in ("", own)
    if others and options.start != "never" and root not in survey.roots:
        return f"jtunnel started it for {found.started_for}"
    return ""


def in_environment(process: Process, survey: Survey, wanted: Environment) -> bool:
    """Whether a process runs in the wanted environment, or none is wanted; compares what links lead to.

    An environment whose name only a login shell could have resolved is known by that name.
    """
    ways = {posixpath.normpath(way) for way in (process.environment, process.real_environment) if way}
    if survey.prefixes:
        return not ways.isdisjoint(map(posixpath.normpath, survey.prefixes))
    if wanted.python is None and wanted.conda_env is not None:
        return any(posixpath.basename(way) == wanted.conda_env for way in ways)
    return True


def _is_at_home(found: Found, survey: Survey) -> bool:
    """Its runtime file is in the login's home, whatever home it has itself."""
    return found.file is not None and any(found.file.path.startswith(f"{home}/") for home in survey.homes)


def _rank(found: Found, survey: Survey, options: JupyterOptions, own: str) -> tuple[bool, bool, bool]:
    root = posixpath.normpath(found.file.root_dir) if found.file else ""
    at_home = options.directory is not None or options.remote_port is not None or root in survey.homes
    return (
        not (found.is_orphan and found.started_for == own),
        found.started_for not in ("", own),
        not at_home,
    )
