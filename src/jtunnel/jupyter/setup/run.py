"""`jtunnel setup` on one host: look, plan, and, if it is to be applied, write and start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Final

from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ConfigError, ServerError, one_line
from jtunnel.jupyter.plan import make_request
from jtunnel.jupyter.setup.answer import describe
from jtunnel.jupyter.setup.facts import Facts, read_facts
from jtunnel.jupyter.setup.plan import SetupPlan, make_setup_plan, port_of
from jtunnel.jupyter.setup.settings import check_root
from jtunnel.jupyter.setup.starting import start_by_hand
from jtunnel.jupyter.setup.wishes import Wishes, read_wishes
from jtunnel.remote import Remote
from jtunnel.service.ground import Ground
from jtunnel.service.prepare import prepare
from jtunnel.service.script import run_script

#: Python and its modules may come from a slow network file system.
_LOOK_S: Final = 90.0
_WRITE_S: Final = 60.0


async def run_setup(
    remote: Remote,
    options: JupyterOptions,
    key: str,
    host: str,
    wishes: Mapping[str, Any],
    password: str,
    apply: bool,
) -> dict[str, Any]:
    """Plan the setup of the account's Jupyter and, with `apply`, carry it out; the answer is JSON.

    `key` is the profile's name and `host` the one that it connects to. `wishes` are those of `Wishes`;
    `password` is a new one, or empty. Raises ConfigError (`usage`), ServerError and ChannelError; then
    nothing was changed, unless it says that the server did not start.
    """
    wished = read_wishes(wishes)
    facts = await _look(remote, options, key, wished, password, makes_hash=apply)
    names = (facts.ground.node, *facts.ground.names, host)
    if not wished.undo:
        facts = await _with_owner(remote, key, facts, port_of(facts, options, wished))
    plan = make_setup_plan(facts, options, wished, names, datetime.now(UTC))
    if wished.plan not in (None, plan.digest) and facts.matching:
        # A person who asked for a new password, and then typed the old one, gets what was agreed to.
        plan = make_setup_plan(
            replace(facts, matching=frozenset()), options, wished, names, datetime.now(UTC)
        )
    if apply:
        _check(plan, wished, facts.ground)
        if plan.changes or plan.remove:
            await _write(remote, key, facts, plan)
    started = None
    if apply and wished.start and plan.wanted is not None:
        started = await start_by_hand(remote, facts, options, key, plan.wanted)
    return describe(facts, options, key, plan, started, applied=apply)


async def _look(
    remote: Remote, options: JupyterOptions, key: str, wishes: Wishes, password: str, *, makes_hash: bool
) -> Facts:
    """Find Jupyter as a start would, and ask it for its configuration."""
    directory = wishes.directory or options.directory
    request = make_request(replace(options, directory=directory, remote_port=None), key)
    ground = await prepare(remote, request, key)
    if not ground.interpreter:
        name = ground.environment_name
        await run_script(remote, "discard", key, timeout_s=_WRITE_S, environment_name=name)
        raise ServerError(
            "jupyter-failed",
            f"the Python that {ground.program} on {ground.node} runs in cannot be told",
            f'name it: python = "/path/to/python" in [profiles.{key}.jupyter]',
        )
    report = await run_script(
        remote,
        "setup_look",
        key,
        kind="jupyter",
        timeout_s=_LOOK_S,
        interpreter=ground.interpreter,
        program=_program("look"),
        question=json.dumps({"password": password, "hash": makes_hash}),
        root=ground.root_dir,
        environment_name=ground.environment_name,
    )
    check_root(ground, options.allow_root, key)
    return read_facts(report, ground)


async def _with_owner(remote: Remote, key: str, facts: Facts, port: int | None) -> Facts:
    """The same with who has that port, if anybody."""
    if port is None or port not in facts.ports.taken:
        return facts
    report = await run_script(remote, "setup_port", key, kind="jupyter", timeout_s=_WRITE_S, port=port)
    owner, _, pid = (report.one("taken") or "").rpartition(" ")
    process = f" (pid {pid})" if pid.isdigit() else ""
    return replace(facts, port_owner=one_line(owner), port_process=process)


def _check(plan: SetupPlan, wishes: Wishes, ground: Ground) -> None:
    """Raises ConfigError (`usage`) where this is not what a person has agreed to."""
    if wishes.plan is not None and wishes.plan != plan.digest:
        raise ConfigError(
            "usage",
            f"the config of Jupyter on {ground.node} was changed meanwhile, so nothing was done",
            "look at what is to be changed again",
        )
    if plan.needs_password:
        raise ConfigError(
            "usage",
            f"a password for Jupyter on {ground.node} is missing",
            "give it with --password-stdin, or do without one: --no-password",
        )


async def _write(remote: Remote, key: str, facts: Facts, plan: SetupPlan) -> None:
    """Have all files written, or none. Raises ServerError (`jupyter-failed`) where none was."""
    order = {
        "changes": [change.order() for change in plan.changes],
        "remove": plan.remove,
        "directories": plan.directories,
    }
    ground = facts.ground
    report = await run_script(
        remote,
        "setup_write",
        key,
        kind="jupyter",
        timeout_s=_WRITE_S,
        interpreter=ground.interpreter,
        program=_program("write"),
        order=json.dumps(order),
    )
    try:
        answer = json.loads(report.one("answer") or "{}")
    except ValueError:
        answer = {}
    if answer.get("done"):
        return
    if "changed" in answer:
        what, advice = "was changed in this very moment", "try again"
    elif "failed" in answer:
        what = f"cannot be written: {answer['failed']}"
        advice = "check the quota and the permissions there"
    else:
        what, advice = "were perhaps not written", "look at them there, and try again"
    path = facts.shown(answer.get("changed") or answer.get("path") or facts.directory)
    done = "; nothing was changed" if answer else ""
    raise ServerError("jupyter-failed", f"{path} on {ground.node} {what}{done}", advice)


def _program(name: str) -> str:
    """The text of a program for the Python over there."""
    folder = resources.files("jtunnel") / "jupyter" / "setup" / "programs"
    return (folder / f"{name}.py").read_text(encoding="utf-8")
