"""What a wanted environment lacks, as problems: lines that fail, no such environment, nothing in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from jtunnel.errors import ServerError, one_line
from jtunnel.service.script import Report

#: Environments that a message names.
_SHOWN: Final = 12


def check_setup(report: Report, node: str, lines: Sequence[str], table: str) -> None:
    """Raise ServerError (`jupyter-failed`) where a setup line failed or hangs."""
    if (problem := report.one("setup")) is None:
        return
    fate, number, shell = problem.split(" ", 2)
    # bash tells the number of its line, which is not one of the user's.
    said = re.sub(r"^\S*: (eval: )?line \d+: ", "", one_line(report.one("setup_said") or "")).strip()[:200]
    name = shell.rpartition("/")[2]
    if number == "0":
        what = "does not come to its prompt" if fate == "hangs" else "ended before the setup lines"
        raise ServerError(
            "jupyter-failed",
            f"a login {name} on {node} {what}",
            f"look for the cause in its start-up files: `ssh {node}`, then `{name} -l`",
        )
    line = lines[int(number) - 1] if int(number) <= len(lines) else lines[-1]
    if fate == "hangs":
        raise ServerError(
            "jupyter-failed",
            f"the setup line `{line}` did not come to an end in {name} on {node}",
            f"correct it in {table}; it gets no input",
        )
    raise ServerError(
        "jupyter-failed",
        f"the setup line `{line}` failed in {name} on {node}" + (f": {said.rstrip('. ')}" if said else ""),
        f"correct it in {table}",
    )


def check_environment(report: Report, node: str, noun: str, package: str, table: str) -> None:
    """Raise ServerError (`jupyter-missing`) where there is no such environment, or not the program in it."""
    if (python := report.one("no_python")) is not None:
        raise ServerError(
            "jupyter-missing",
            f"no Python at {one_line(python)} on {node}",
            f"correct python, conda_env or venv in {table}",
        )
    if (name := report.one("no_conda")) is not None:
        raise ServerError(
            "jupyter-missing",
            f'no conda environment "{one_line(name)}" on {node}: {_known(report.all("conda"))}',
            f"set conda_env to one of them, or to its directory, in {table}"
            if report.all("conda")
            else f"set conda_env to its directory in {table}",
        )
    if (python := report.one("lacking")) is not None:
        raise ServerError(
            "jupyter-missing",
            f"the environment {python.rpartition('/bin/')[0] or python} on {node} has no {noun}",
            f"install it there: {python} -m pip install {package}",
        )


def _known(prefixes: Sequence[str]) -> str:
    """Which environments there are, by where they are."""
    if not prefixes:
        return "none was found there"
    places: dict[str, list[str]] = {}
    for prefix in map(one_line, prefixes):
        parent, _, name = prefix.rpartition("/")
        if parent.endswith("/envs"):
            places.setdefault(parent, []).append(name)
    for prefix in map(one_line, prefixes):
        parent, _, name = prefix.rpartition("/")
        if f"{prefix}/envs" in places:
            places[f"{prefix}/envs"].insert(0, "base")
        elif not parent.endswith("/envs"):
            places.setdefault(parent, []).append(name)
    shown, left = [], _SHOWN
    for parent, names in places.items():
        if left > 0:
            shown.append(f"{', '.join(sorted(names)[:left])} (in {parent})")
        left -= len(names)
    return f"there are {', '.join(shown)}" + (f" and {-left} more" if left < 0 else "")
