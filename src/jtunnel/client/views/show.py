"""`status`: prints what is. Watching it is `watch`'s, a line for a status bar `bars`' business."""

from __future__ import annotations

import sys
import time

from jtunnel.client import terminal
from jtunnel.client.dial import dial
from jtunnel.client.views.other_config import config_warning
from jtunnel.errors import EXIT_BLOCKED, EXIT_DONE, EXIT_FAILED, ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jtunnel.status import StatusDocument


def show_status(
    environ: Mapping[str, str],
    *,
    names: Sequence[str],
    tags: Sequence[str],
    as_json: bool,
    watch: bool,
    form: str | None,
    colour: str,
) -> int:
    """Print the state of all tunnels, or of those with one of `names` and `tags`; return the exit code.

    It starts no daemon.
    """
    if form is not None:
        from jtunnel.client.views import bars

        if as_json:
            raise ConfigError("usage", "--format and --json are two ways to say it", "leave one of them out")
        return bars.show_bar(environ, names=names, tags=tags, form=form, watch=watch)
    if watch:
        from jtunnel.client.views.watch import watch as watch_status

        return watch_status(environ, names, tags, as_json=as_json, colour=colour)
    params = {key: list(values) for key, values in (("names", names), ("tags", tags)) if values}
    with dial(environ, remarks=not as_json) as connection:
        document: StatusDocument = connection.call("status", params)
    if as_json:
        import json

        terminal.put_raw(json.dumps(document, indent=2) + "\n")
    else:
        from jtunnel.client.views import view

        size = terminal.size(sys.stdout, environ)
        lines = view.status_lines(
            document,
            time.time(),
            width=size[0] if size else None,
            colour=terminal.wants_colour(sys.stdout, environ, colour),
        )
        terminal.put_raw("".join(f"{line}\n" for line in lines))
    if warning := config_warning(environ, document):
        terminal.say(warning)
    return exit_code(document) if params else EXIT_DONE


def exit_code(document: StatusDocument) -> int:
    """0 where all tunnels are up, 4 where one is blocked, else 1."""
    states = {tunnel["state"] for tunnel in document["tunnels"]}
    if "blocked" in states:
        return EXIT_BLOCKED
    return EXIT_DONE if states <= {"up"} else EXIT_FAILED
