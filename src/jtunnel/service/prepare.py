"""Asks the remote what a start needs: the program, its environment and versions, a directory, free ports."""

from __future__ import annotations

import logging
import secrets
import shlex
from dataclasses import dataclass
from typing import Final

from jtunnel.config.profile import Environment
from jtunnel.errors import ServerError
from jtunnel.remote import Remote
from jtunnel.service.ground import Ground
from jtunnel.service.lacks import check_environment, check_setup
from jtunnel.service.script import Kind, Report, run_script
from jtunnel.service.setup_lines import FAMILIES, setup_text
from jtunnel.service.survey import read_survey

#: How long setup lines, and scripts that packages want run, may take together.
_SETUP_S: Final = 30
_HOOKS_S: Final = 8
#: Login shells of 15 s each, setup lines twice, and a Python on a slow network file system.
PREPARE_S: Final = 180.0
#: Prints the versions of Python and of the distributions it is told; importing those would take seconds.
_VERSIONS: Final = """\
import sys
try:
    from importlib.metadata import PackageNotFoundError as Missing, version
except ImportError:
    from pkg_resources import DistributionNotFound as Missing, get_distribution
    version = lambda name: get_distribution(name).version
found = []
for name in sys.argv[1:]:
    try:
        found.append("version %s %s" % (name, version(name)))
    except Missing:
        pass
if found:
    print("version python %d.%d" % sys.version_info[:2])
    print("\\n".join(found))
"""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What a start needs, and where.

    `program` is a name or a path, `others` are names that will do as well. `port` is one that must be free,
    `table` the part of the config to name in advice. The versions of `distributions` are told; where there
    are `others`, a Python with one of them will do too. `noun` is what messages call the program, `package`
    what to install where it is missing, both empty where the program's name says all.
    """

    program: str
    others: tuple[str, ...]
    directory: str | None
    port: int | None
    environment: Environment
    table: str
    distributions: tuple[str, ...] = ()
    noun: str = ""
    package: str = ""
    kind: Kind = "service"


async def prepare(remote: Remote, request: Request, key: str) -> Ground:
    """Find out what a start needs to know; makes nothing in the home but a run directory, at need.

    Raises ServerError: `jupyter-missing` where the program or its environment is not found, `jupyter-failed`
    where a setup line fails, the directory does not exist or remote_port is taken.
    """
    nonce = secrets.token_hex(8)
    environment_name = f"{nonce}.env"
    wanted = request.environment
    report = await run_script(
        remote,
        "prepare",
        key,
        timeout_s=PREPARE_S,
        kind=request.kind,
        program=request.program,
        others=" ".join(request.others),
        root=request.directory or "~",
        port="" if request.port is None else request.port,
        environment_name=environment_name,
        nonce=nonce,
        versions=_VERSIONS,
        distributions=" ".join(request.distributions),
        python=wanted.python or "",
        setup_s=_SETUP_S,
        hooks_s=_HOOKS_S,
        conda_env=wanted.conda_env or "",
        venv=wanted.venv or "",
        variables="\n".join(f"export {name}={shlex.quote(value)}" for name, value in wanted.variables),
        **{f"setup_{family}": setup_text(wanted.setup, family, nonce) for family in FAMILIES},
    )
    survey = read_survey(report)
    _check(report, survey.node, request)
    run_kind, _, run_dir = (report.one("run") or "").partition(" ")
    versions = dict(line.split(" ", 1) for line in report.all("version"))
    return Ground(
        node=survey.node,
        uid=survey.uid,
        log=survey.log,
        program=report.one("program") or request.program,
        interpreter=report.one("interpreter") or "",
        versions=versions,
        environment_name=environment_name,
        root_dir=report.one("root") or "",
        socket_dir=run_dir if run_kind == "local" else None,
        sockets_refused=report.one("sockets") == "refused",
        ports={port for _, port in survey.listeners or ()},
        names=survey.names,
        environment=report.one("environment") or "",
        has_tornado_settings=report.one("tornado_settings") is not None,
    )


def _check(report: Report, node: str, request: Request) -> None:
    table = request.table
    if (directory := report.one("no_root")) is not None:
        raise ServerError(
            "jupyter-failed",
            f"the directory {directory} does not exist on {node}, or cannot be entered",
            f"make it, or set another directory in {table}",
        )
    if (owner := report.one("taken")) is not None:
        user, _, pid = owner.partition(" ")
        process = f" (pid {pid})" if pid != "-" else ""
        key = "remote_port" if request.kind == "jupyter" else "port"
        raise ServerError(
            "jupyter-failed",
            f"port {request.port} on {node} is taken by a process of {user}{process}",
            f"choose another {key} in {table}, or leave it out",
        )
    check_setup(report, node, request.environment.setup, table)
    noun, package = request.noun or request.program, request.package or request.program
    check_environment(report, node, noun, package, table)
    if (places := report.one("missing")) is not None:
        shell, _, path = places.partition(" ")
        _log.info("no %s on %s on the PATH %s", request.program, node, path)
        raise ServerError(
            "jupyter-missing",
            f"no {request.program} on {node}: not on the PATH, not on that of a login {shell}, "
            "not in the usual places",
            f"install {request.package or 'it'} there, or name its python, conda_env or venv in {table}",
        )
