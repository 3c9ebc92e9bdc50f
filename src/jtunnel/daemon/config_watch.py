"""Notices that the config file was edited, by a look at its date on the tick that runs anyway."""

from __future__ import annotations

import logging

from jtunnel.changes import Changes
from jtunnel.daemon.manager import Manager
from jtunnel.errors import ConfigError

_log = logging.getLogger(__name__)


async def watch_config(manager: Manager, ticks: Changes) -> None:
    """Have the config reread once two looks in a row see the same new file: it may be half written."""
    before = manager.config_mark
    while True:
        await ticks.wait(ticks.index)
        mark = manager.look_at_config()
        is_settled, before = mark == before, mark
        if not manager.watches_config or not is_settled or mark == manager.config_mark:
            continue
        try:
            await manager.reload()
        except ConfigError as error:
            _log.warning("the config was edited and is not read: %s", error)
        except Exception:  # noqa: BLE001  (a bug here must not end the tunnels)
            _log.exception("the config was edited, and is not taken on")
