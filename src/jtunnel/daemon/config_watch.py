"""Notices that the config file was edited, by a look at its date on the tick that runs anyway."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from jtunnel.changes import Changes
from jtunnel.daemon.manager import Manager
from jtunnel.errors import ConfigError

#: Seconds in which an editor or a copy has written the whole of it.
SETTLE_S: Final = 0.5

_log = logging.getLogger(__name__)


async def watch_config(manager: Manager, ticks: Changes, settle_s: float = SETTLE_S) -> None:
    """Have the config reread once two looks in a row see the same new file: it may be half written."""
    while True:
        await ticks.wait(ticks.index)
        mark = manager.look_at_config()
        while manager.watches_config and mark != manager.config_mark:
            await asyncio.sleep(settle_s)
            before, mark = mark, manager.look_at_config()
            if mark == before:
                await _reread(manager)
                break


async def _reread(manager: Manager) -> None:
    try:
        await manager.reload()
    except ConfigError as error:
        _log.warning("the config was edited and is not read: %s", error)
    except Exception:  # noqa: BLE001  (a bug here must not end the tunnels)
        _log.exception("the config was edited, and is not taken on")
