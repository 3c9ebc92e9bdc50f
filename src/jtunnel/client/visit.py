"""A call that works on a remote host: it may take its time, and the daemon may ask the person meanwhile."""

from __future__ import annotations

from jtunnel.client.connection import result_of
from jtunnel.client.prompts import answer_prompt, find_terminal
from jtunnel.errors import ControlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from jtunnel.client.connection import Connection

#: Between two signs of life of the daemon; people at a question have as long as they want.
PATIENCE_S: Final = 150.0


def visit(
    connection: Connection, method: str, params: Mapping[str, Any], *, patience_s: float = PATIENCE_S
) -> Any:
    """Make the call, answer what the daemon asks, and return the result; raises what its error stands for."""
    person = find_terminal()
    identifier = connection.send(method, {**params, "interactive": person is not None})
    has_asked = False
    try:
        while (message := connection.receive(patience_s)) is not None:
            asked = message.get("method")
            if asked is None and message.get("id") == identifier:
                return result_of(message)
            if asked == "prompt" and person is not None:
                has_asked = True
                answer_prompt(connection, person, message)
            elif asked is not None and "id" in message:
                connection.refuse(message["id"], asked)
    finally:
        if person is not None and has_asked:
            # A shell would take a passphrase for a command, and keep it.
            person.drop_typing()
    raise ControlError(
        "daemon-failed",
        f"the daemon did not answer `{method}` within {patience_s:.0f} s",
        "see what it does: jtunnel logs",
    )
