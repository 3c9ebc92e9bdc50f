"""`jtunnel config`: what is wrong with the config file, where it is, and what may stand in it.

Talks to no daemon and changes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping

from jtunnel import paths
from jtunnel.config.load import load_config
from jtunnel.config.schema import config_schema
from jtunnel.errors import EXIT_DONE, ConfigError


def run(argv: list[str]) -> int:
    """Carry out `jtunnel config ARGV…` and return its exit code."""
    try:
        action = _parser().parse_args(argv).action
    except SystemExit as stop:
        # argparse has said what it had to say; the exit code is the caller's business.
        return int(stop.code or 0)
    if action == "schema":
        print(json.dumps(config_schema(), indent=2))
        return EXIT_DONE
    path = paths.config_file(os.environ)
    if action == "path":
        print(path)
        return EXIT_DONE
    return _check(path, os.environ)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jtunnel config", description="Help with the config file.")
    actions = parser.add_subparsers(dest="action", metavar="check|path|schema", required=True)
    actions.add_parser("check", help="say what is wrong in the config file", description=_CHECK)
    actions.add_parser("path", help="print where the config file is", description=_PATH)
    actions.add_parser("schema", help="print its JSON Schema, for editors", description=_SCHEMA)
    return parser


_CHECK = "Read the config file and name each mistake in it on a line; exit code 2 if there is any."
_PATH = "Print the path of the config file, whether it exists or not. $JTUNNEL_CONFIG overrides it."
_SCHEMA = "Print the JSON Schema (draft 2020-12) of the config file: completion and checks in an editor."


def _check(path: str, environ: Mapping[str, str]) -> int:
    try:
        count = len(load_config(path, environ).profiles)
    except ConfigError as error:
        print(*error.lines, sep="\n", file=sys.stderr)
        advice = error.advice if len(error.lines) == 1 else f"correct them in {path}"
        print(advice, file=sys.stderr)
        return error.exit_code
    print(f"{path}: {count} profile{'' if count == 1 else 's'}, fine")
    return EXIT_DONE
