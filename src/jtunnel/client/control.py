"""The commands that are one question and a sentence: down, url, reload, shutdown, rpc."""

from __future__ import annotations

import time

from jtunnel import wire
from jtunnel.client import terminal
from jtunnel.client.connection import result_of
from jtunnel.client.dial import dial
from jtunnel.client.names import one_name
from jtunnel.errors import EXIT_DONE, EXIT_FAILED, KINDS, ConfigError, ControlError, JTunnelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final


#: How long `shutdown` waits for the daemon's end; the daemon means to take at most 5 s.
SHUTDOWN_S: Final = 10.0
#: A raw call may be one that works on the remote side.
RPC_S: Final = 120.0
#: The server is asked first whether it is still there.
URL_S: Final = 30.0
_POLL_S: Final = 0.02


def take_down(environ: Mapping[str, str], *, names: Sequence[str], tags: Sequence[str], every: bool) -> int:
    """Drop tunnels; their Jupyter servers live on."""
    with dial(environ) as connection:
        params = {"names": list(names), "tags": list(tags), "all": every}
        dropped: list[str] = connection.call("down", params, timeout_s=30.0)["names"]
    longest = max(map(len, dropped), default=0)
    for name in dropped:
        terminal.put(f"{name:<{longest}}  down")
    return EXIT_DONE


def print_url(environ: Mapping[str, str], *, name: str | None) -> int:
    """Print the address of a tunnel's Jupyter with its token: the one place where a token is shown."""
    with dial(environ) as connection:
        name = one_name(connection, name, "url")
        try:
            url: str = connection.call("url", {"name": name}, timeout_s=URL_S)["url"]
        except JTunnelError as error:
            from jtunnel.client.server import bring_up_at_rest

            if error.kind != "not-up" or (code := bring_up_at_rest(connection, environ, name)) is None:
                raise
            if code != EXIT_DONE:
                return code
            url = connection.call("url", {"name": name}, timeout_s=URL_S)["url"]
        terminal.put(url)
    return EXIT_DONE


def reload(environ: Mapping[str, str]) -> int:
    """Have the config read again, and say what that changed."""
    with dial(environ) as connection:
        changes: dict[str, list[str]] = connection.call("reload", {}, timeout_s=30.0)
    for key in ("added", "changed", "removed"):
        if names := changes[key]:
            terminal.put(f"{key}: {', '.join(names)}")
    if not (changes["added"] or changes["changed"] or changes["removed"]):
        terminal.put("nothing changed")
    return EXIT_DONE


def shut_down(environ: Mapping[str, str]) -> int:
    """End the daemon, also one of another protocol version, and say so."""
    end_daemon(environ)
    terminal.say("the daemon has ended; Jupyter servers on the remote hosts live on")
    return EXIT_DONE


def end_daemon(environ: Mapping[str, str]) -> None:
    """End the daemon and wait until it answers no more; raises ControlError where none runs, or it stays."""
    with dial(environ, any_protocol=True) as connection:
        try:
            connection.call("shutdown", {})
        except ControlError as error:
            if error.kind != "no-daemon":  # it may be gone before it answers
                raise
    give_up_at = time.monotonic() + SHUTDOWN_S
    while _answers(environ):
        if time.monotonic() > give_up_at:
            raise ControlError(
                "daemon-failed",
                f"the daemon still answers after {SHUTDOWN_S:.0f} s",
                "see what it does: jtunnel logs",
            )
        time.sleep(_POLL_S)


def call_raw(environ: Mapping[str, str], *, method: str, params: str) -> int:
    """Make one call of the control protocol and print what it returns, both as JSON."""
    import json

    try:
        arguments = json.loads(params)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise ConfigError("usage", "the parameters of rpc are one JSON object", 'such as: {"name": "gpu"}')
    with dial(environ) as connection:
        answer = connection.exchange(method, arguments, timeout_s=RPC_S)
    if "error" in answer:
        terminal.say_raw(json.dumps(answer["error"], indent=2) + "\n")
        return _exit_code(answer["error"])
    terminal.put_raw(json.dumps(result_of(answer), indent=2) + "\n")
    return EXIT_DONE


def _answers(environ: Mapping[str, str]) -> bool:
    try:
        with dial(environ):
            return True
    except ControlError as error:
        return error.kind != "no-daemon"


def _exit_code(error: Mapping[str, Any]) -> int:
    data = error.get("data")
    if error.get("code") == wire.PROBLEM and isinstance(data, dict):
        return KINDS.get(str(data.get("kind")), (None, EXIT_FAILED))[1]
    return EXIT_FAILED
