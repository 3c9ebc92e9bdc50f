"""`jtunnel config`: what is wrong with the config file, where it is, and what may stand in it.

Talks to no daemon and changes nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from jtunnel import paths
from jtunnel.config.load import load_config
from jtunnel.config.schema import config_schema
from jtunnel.errors import EXIT_DONE, ConfigError


def run(environ: Mapping[str, str], *, action: str) -> int:
    """Carry out `jtunnel config ACTION` and return its exit code."""
    if action == "schema":
        print(json.dumps(config_schema(), indent=2))
        return EXIT_DONE
    path = paths.config_file(environ)
    if action == "path":
        print(path)
        return EXIT_DONE
    return _check(path, environ)


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
