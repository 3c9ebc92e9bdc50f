"""`--version`: this client's, and that of the daemon where one runs."""

from __future__ import annotations

from jtunnel import __version__
from jtunnel.client import terminal
from jtunnel.errors import EXIT_DONE, ControlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def print_versions(environ: Mapping[str, str]) -> int:
    """Print one line for the client and, where it answers, one for the daemon."""
    from jtunnel.client.dial import dial

    terminal.put(f"jtunnel {__version__}")
    try:
        with dial(environ, any_protocol=True) as connection:
            hello = connection.hello()
    except ControlError:
        return EXIT_DONE
    terminal.put(f"daemon {hello['version']} (pid {hello['pid']})")
    return EXIT_DONE
