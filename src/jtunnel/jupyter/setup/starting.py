"""Starts Jupyter on the host as its user would by hand: by its config alone, without options of ours."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any, Final

from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ServerError, one_line
from jtunnel.jupyter.plan import make_plan, make_request
from jtunnel.jupyter.setup.facts import Facts
from jtunnel.jupyter.setup.settings import Wanted
from jtunnel.remote import Remote
from jtunnel.service.ground import Ground
from jtunnel.service.launch import RESET
from jtunnel.service.log import decode_log, reason
from jtunnel.service.prepare import prepare
from jtunnel.service.script import run_script

#: A first start on a slow network file system takes its time.
_START_S: Final = 120


def command_words(ground: Ground, options: JupyterOptions, key: str) -> tuple[str, ...]:
    """The program and its words, without options."""
    # Where it listens is the config's business here.
    words = make_plan(ground, replace(options, listen="tcp"), key).arguments
    return words[: words.index("--no-browser")]


async def start_by_hand(
    remote: Remote, facts: Facts, options: JupyterOptions, key: str, wanted: Wanted
) -> dict[str, Any]:
    """Start it, and wait until it says that it runs: its `pid` and its `log`.

    Where a process of ours listens at that port already, that one stays: `pid` is None. Raises ServerError
    (`jupyter-failed`) with the reason from its log.
    """
    if wanted.port in facts.ports.taken:
        return {"pid": None, "log": None}
    # The environment that the first search kept is gone, and a start wants the whole of it.
    request = make_request(replace(options, directory=facts.ground.root_dir, remote_port=None), key)
    ground = await prepare(remote, request, key)
    report = await run_script(
        remote,
        "setup_start",
        key,
        kind="jupyter",
        timeout_s=_START_S + 30.0,
        arguments=shlex.join((*command_words(ground, options, key), "--no-browser")),
        root=ground.root_dir,
        seconds=_START_S,
        interpreter=ground.interpreter,
        reset=RESET,
        environment_name=ground.environment_name,
    )
    log = report.one("log") or ""
    if (pid := report.one("started")) is None:
        said = one_line(reason(decode_log(report.data("text"))))
        why = report.one("failed") or said or "its log is empty"
        raise ServerError(
            "jupyter-failed",
            f"Jupyter is set up on {ground.node}, and did not start: {why}",
            f"see {log} there",
        )
    return {"pid": int(pid), "log": log}
