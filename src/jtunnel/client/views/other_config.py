"""A word for whoever set `$JTUNNEL_CONFIG` for a command, while the daemon reads another file."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jtunnel.status import StatusDocument


def config_warning(environ: Mapping[str, str], document: StatusDocument) -> str | None:
    """That the daemon reads another config than `$JTUNNEL_CONFIG`; None where it does not."""
    given, used = environ.get("JTUNNEL_CONFIG"), document["daemon"]["config_path"]
    if not given or os.path.realpath(given) == os.path.realpath(used):
        return None
    return f"JTUNNEL_CONFIG is {given}, but the daemon reads {used}; to change that: jtunnel service restart"
