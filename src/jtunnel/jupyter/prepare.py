"""Asks the remote what a start needs: the program and its versions, the directory, free ports."""

from __future__ import annotations

import secrets
from typing import Final

from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ServerError
from jtunnel.jupyter.plan import DEFAULT_COMMAND, OTHER_PROGRAMS, Ground, split_command
from jtunnel.jupyter.script import Report, run_script
from jtunnel.jupyter.survey import read_survey
from jtunnel.remote import Remote

#: Two login shells of 15 s each, and a Python on a slow network file system.
PREPARE_S: Final = 120.0
#: Prints the versions of what may bring Jupyter; importing it would take seconds.
_VERSIONS: Final = """\
try:
    from importlib.metadata import PackageNotFoundError as Missing, version
except ImportError:
    from pkg_resources import DistributionNotFound as Missing, get_distribution
    version = lambda name: get_distribution(name).version
for name in ("jupyterlab", "notebook", "jupyter_server"):
    try:
        print("version", name, version(name))
    except Missing:
        pass
"""


async def prepare(remote: Remote, options: JupyterOptions, key: str) -> Ground:
    """Find out what a start needs to know; makes our directories on the remote.

    Raises ServerError: `jupyter-missing` where the program is not found, `jupyter-failed` where the
    directory does not exist or remote_port is taken.
    """
    program = split_command(options, key)[0]
    nonce = secrets.token_hex(8)
    environment_name = f"{nonce}.env"
    default = options.command == DEFAULT_COMMAND
    report = await run_script(
        remote,
        "prepare",
        key,
        timeout_s=PREPARE_S,
        program=program,
        others=" ".join(OTHER_PROGRAMS) if default else "",
        root=options.directory or "~",
        port="" if options.remote_port is None else options.remote_port,
        environment_name=environment_name,
        nonce=nonce,
        versions=_VERSIONS,
    )
    survey = read_survey(report)
    _check(report, survey.node, program, options, key)
    run_kind, _, run_dir = (report.one("run") or "").partition(" ")
    versions = dict(line.split(" ", 1) for line in report.all("version"))
    return Ground(
        node=survey.node,
        uid=survey.uid,
        log=survey.log,
        program=report.one("program") or program,
        interpreter=report.one("interpreter") or "",
        versions=versions,
        environment_name=environment_name,
        root_dir=report.one("root") or "",
        socket_dir=run_dir if run_kind == "local" else None,
        sockets_refused=report.one("sockets") == "refused",
        ports={port for _, port in survey.listeners or ()},
        names=survey.names,
        has_tornado_settings=report.one("tornado_settings") is not None,
    )


def _check(report: Report, node: str, program: str, options: JupyterOptions, key: str) -> None:
    table = f"[profiles.{key}.jupyter]"
    if (directory := report.one("no_root")) is not None:
        raise ServerError(
            "jupyter-failed",
            f"the directory {directory} does not exist on {node}, or cannot be entered",
            f"make it, or set another directory in {table}",
        )
    if (places := report.one("missing")) is not None:
        shell, _, path = places.partition(" ")
        raise ServerError(
            "jupyter-missing",
            f"no {program} on {node}: not on the PATH ({path}), not on that of a login {shell}, "
            "not in the usual places",
            f'install JupyterLab there, or set command = "/path/to/jupyter lab" in {table}',
        )
    if (owner := report.one("taken")) is not None:
        user, _, pid = owner.partition(" ")
        process = f" (pid {pid})" if pid != "-" else ""
        raise ServerError(
            "jupyter-failed",
            f"port {options.remote_port} on {node} is taken by a process of {user}{process}",
            f"choose another remote_port in {table}, or leave it out",
        )
