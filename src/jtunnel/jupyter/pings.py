"""How soon a server that we start notices a browser that is gone, and keeps a kernel's output for its return.

Jupyter pings each websocket and closes one that does not answer; from then on it buffers. Lost is what was
printed between the break and the close, and in the 5 s that tornado then waits for an answer to its goodbye.
That is so as well where the connection would have come back: after 10 s without a network, the far side's TCP
needs 14 s (1 ms round trip) to 19 s (80 ms) from the break. So the timeout must be longer than that.
Ticks lost of one a second, with jupyter_server 2.21 and 1.24 (interval / timeout):

                                       2 s / 5 s   2 s / 13.5 s   5 s / 22 s   Jupyter's own 30 s / 90 s
    10 s silent, TCP survives               5          1 to 5          0                 0
    60 s away, reset after 20 s          9 to 10         17        25 to 29             60

The price: pings queue behind output, so an output that takes a slow line longer than 20 s is lost (9 MB at
250 kB/s was). Whoever needs more sets tornado_settings in a Jupyter config file, and then has their own.
"""

from __future__ import annotations

from typing import Final

INTERVAL_S: Final = 5
#: Looked at when a ping is due, so a connection is closed after 25 s. It must be longer than the interval:
#: the first look comes one interval after the opening, before any pong. (tornado logs a warning of that, as
#: it does with Jupyter's own settings: it takes the milliseconds for the seconds of its own pings.)
TIMEOUT_S: Final = 22
#: Parts of a configured command that set the same, or name a file that may.
_ALREADY: Final = ("tornado_settings", "--config", "config_file")


def ping_options(trait: str, words: tuple[str, ...], *, has_own: bool) -> list[str]:
    """The option for a command of these words; none where the user has tornado_settings (`has_own`).

    An option would replace all of theirs, such as the headers that let a page be embedded.
    """
    if has_own or any(part in word for word in words for part in _ALREADY):
        return []
    # Milliseconds; classic notebook has the same. It is Jupyter's own ping: it closes without a code, whereas
    # tornado's would say 1000, after which JupyterLab 4.6 does not come back.
    settings = {"ws_ping_interval": INTERVAL_S * 1000, "ws_ping_timeout": TIMEOUT_S * 1000}
    return [f"--{trait}.tornado_settings={settings}"]
