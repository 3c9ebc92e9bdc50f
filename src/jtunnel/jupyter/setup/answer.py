"""What a client is told of a setup: the diff, remarks, how to start the server by hand. No secrets."""

from __future__ import annotations

import posixpath
import shlex
from typing import Any

from jtunnel.config.profile import JupyterOptions
from jtunnel.jupyter.setup.dialects import dialects_of
from jtunnel.jupyter.setup.facts import Facts
from jtunnel.jupyter.setup.plan import SetupPlan
from jtunnel.jupyter.setup.settings import Wanted, current
from jtunnel.jupyter.setup.starting import command_words


def describe(
    facts: Facts,
    options: JupyterOptions,
    key: str,
    plan: SetupPlan,
    started: dict[str, Any] | None,
    *,
    applied: bool,
) -> dict[str, Any]:
    """The answer to a client."""
    answer: dict[str, Any] = {
        "node": facts.ground.node,
        "changes": bool(plan.changes or plan.remove),
        "diff": list(plan.diff),
        "notes": list(plan.notes),
        "needs_password": plan.needs_password,
        "plan": plan.digest,
        "applied": applied,
        "started": started,
    }
    if (wanted := plan.wanted) is not None:
        answer |= {
            "port": wanted.port,
            "secure": bool(wanted.certfile),
            "password": bool(wanted.password),
            "url": _url(facts, wanted),
            "command": by_hand(facts, options, key, wanted),
        }
    return answer


def by_hand(facts: Facts, options: JupyterOptions, key: str, wanted: Wanted) -> str:
    """The line that starts the server there."""
    words = shlex.join(command_words(facts.ground, options, key))
    start = f"nohup {words} --no-browser >jupyter.log 2>&1 &"
    directory = facts.ground.root_dir
    same = wanted.root_dir is not None or posixpath.normpath(directory) == posixpath.normpath(facts.home)
    return start if same else f"cd {shlex.quote(directory)} && {start}"


def _url(facts: Facts, wanted: Wanted) -> str:
    base = current(facts, dialects_of(facts.ground), "base_url")
    path = f"/{base.strip('/')}/" if isinstance(base, str) and base.strip("/") else "/"
    return f"{'https' if wanted.certfile else 'http'}://localhost:{wanted.port}{path}"
