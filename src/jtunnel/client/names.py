"""Which one tunnel a command means that takes only one. What a pattern fits, the daemon knows."""

from __future__ import annotations

from jtunnel.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jtunnel.client.connection import Connection
    from jtunnel.status import StatusDocument


def one_name(connection: Connection, given: str | None, command: str) -> str:
    """The one tunnel that `command` means: by its name, by a pattern that fits no other, or without any word.

    Raises ConfigError where there are several, or none.
    """
    if given is None:
        return _only_name(connection, command)
    if not any(sign in given for sign in "*?["):
        return given
    # The daemon knows what a pattern fits, and says so where that is nothing.
    document: StatusDocument = connection.call("status", {"names": [given]})
    names = [tunnel["name"] for tunnel in document["tunnels"]]
    if len(names) > 1:
        raise ConfigError("usage", f"{command} takes one tunnel", f"name one: {', '.join(names)}")
    return names[0]


def _only_name(connection: Connection, command: str) -> str:
    document: StatusDocument = connection.call("status", {})
    names = [tunnel["name"] for tunnel in document["tunnels"] if tunnel["jupyter"] or tunnel.get("service")]
    path = document["daemon"]["config_path"]
    if not document["tunnels"]:
        raise ConfigError("unknown-profile", f"there are no profiles in {path}", "write one: jtunnel edit")
    if not names:
        raise ConfigError("usage", "no profile has a Jupyter server", f"give one a jupyter table in {path}")
    if len(names) > 1:
        raise ConfigError("usage", f"{command} needs a name", f"name one: {', '.join(names)}")
    return names[0]
