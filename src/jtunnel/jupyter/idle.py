"""Lets a server that we start end by itself after a time without use (`idle_stop`).

Jupyter ends when it has neither kernels nor terminals and nobody has asked it anything for that long; it
looks once a minute. So idle kernels and terminals are ended first. Those that a browser is connected
to stay (`cull_connected` is False), and busy ones: as long as a notebook is open in a tab, or computes,
nothing ends. jtunnel's own questions do not count as use.
"""

from __future__ import annotations

from typing import Final

#: How often Jupyter looks for idle kernels and terminals, at most.
_INTERVAL_S: Final = 300


def idle_options(trait: str, idle_s: float) -> list[str]:
    """The options for a server that may be idle for so long; none for 0."""
    if idle_s <= 0:
        return []
    seconds = max(1, round(idle_s))
    interval = max(1, min(_INTERVAL_S, seconds // 10))
    return [
        f"--{trait}.shutdown_no_activity_timeout={seconds}",
        f"--MappingKernelManager.cull_idle_timeout={seconds}",
        f"--MappingKernelManager.cull_interval={interval}",
        "--MappingKernelManager.cull_connected=False",
        "--MappingKernelManager.cull_busy=False",
        f"--TerminalManager.cull_inactive_timeout={seconds}",
        f"--TerminalManager.cull_interval={interval}",
    ]
