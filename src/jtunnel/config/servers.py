"""From the given keys of a jupyter or service table to its options; defaults that depend on other keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from jtunnel.config.profile import Environment, JupyterOptions, ServiceOptions

#: Of these the first that is given counts.
_PLACES: Final = ("python", "conda_env", "venv")


def read_jupyter(defaults: Mapping[str, Any], table: Mapping[str, Any]) -> JupyterOptions:
    """The options of a profile's jupyter table, over those of [defaults.jupyter]."""
    if any(key in table for key in _PLACES):
        # Another environment than the usual one, whichever key names the usual one.
        defaults = {key: value for key, value in defaults.items() if key not in _PLACES}
    given = {**defaults, **table}
    if "env" in defaults and "env" in table:
        given["env"] = {**defaults["env"], **table["env"]}
    if "remote_port" in given:
        given["listen"] = "tcp"
    if "idle_stop" in given:
        given["idle_stop_s"] = given.pop("idle_stop")
    return JupyterOptions(environment=_take_environment(given), **given)


def read_service(table: Mapping[str, Any]) -> ServiceOptions:
    """The options of a profile's service table."""
    given = {key: value for key, value in table.items() if value is not None}
    given.setdefault("local_port", given.get("port", "auto"))
    if given.get("ready", "tcp") != "tcp":
        given.setdefault("page", "/")
    return ServiceOptions(environment=_take_environment(given), **given)


def _take_environment(given: dict[str, Any]) -> Environment:
    """Take the keys that say what the server is started in out of `given`."""
    setup = given.pop("setup", None) or ()
    chosen = {key: given.pop(key, None) for key in _PLACES}
    return Environment(
        setup=(setup,) if isinstance(setup, str) else tuple(setup),
        variables=tuple(given.pop("env", {}).items()),
        **chosen,
    )
