"""Where jtunnel keeps its files: names only, nothing is created or opened here.

The runtime directory is worked out with the stdlib alone, since every client command needs it;
config and state directories are platformdirs', imported when asked for.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

#: Longest path that bind(2) takes: 107 bytes on Linux, 103 on macOS.
MAX_SOCKET_PATH: Final = 103 if sys.platform == "darwin" else 107


def runtime_dir(environ: Mapping[str, str]) -> str:
    """The directory of control socket and lock: `$JTUNNEL_RUNTIME_DIR`, else the platform's.

    Without `XDG_RUNTIME_DIR` (a cron job, `su`), the directory that a login session would have is
    used where it exists, so that client and daemon meet in every environment.
    """
    if override := environ.get("JTUNNEL_RUNTIME_DIR"):
        return override
    if sys.platform == "darwin":
        return os.path.join(home(environ), "Library/Caches/TemporaryItems/jtunnel")
    uid = os.getuid()
    base = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    if os.path.isdir(base) and os.access(base, os.W_OK):
        return os.path.join(base, "jtunnel")
    return f"/tmp/jtunnel-{uid}"  # noqa: S108  (made 0700, owner checked, by the daemon)


def control_socket(environ: Mapping[str, str]) -> str:
    """The Unix socket that the daemon answers on."""
    return os.path.join(runtime_dir(environ), "control.sock")


def config_file(environ: Mapping[str, str]) -> str:
    """The TOML file: `$JTUNNEL_CONFIG`, else `config.toml` in the user's config directory."""
    if override := environ.get("JTUNNEL_CONFIG"):
        return override
    import platformdirs

    # `$XDG_CONFIG_HOME` counts on macOS too: people who set it mean it.
    if base := environ.get("XDG_CONFIG_HOME"):
        return os.path.join(base, "jtunnel", "config.toml")
    return os.path.join(platformdirs.user_config_dir("jtunnel", appauthor=False), "config.toml")


def state_dir(environ: Mapping[str, str]) -> str:
    """The directory of the log and of what the daemon keeps: `$JTUNNEL_STATE_DIR`, else the platform's."""
    if override := environ.get("JTUNNEL_STATE_DIR"):
        return override
    import platformdirs

    return platformdirs.user_state_dir("jtunnel", appauthor=False)


def log_file(environ: Mapping[str, str]) -> str:
    """The daemon's log."""
    return os.path.join(state_dir(environ), "jtunnel.log")


def home(environ: Mapping[str, str]) -> str:
    """`$HOME`, else the account's home directory."""
    if given := environ.get("HOME"):
        return given
    import pwd

    return pwd.getpwuid(os.getuid()).pw_dir


def expand(path: str, environ: Mapping[str, str]) -> str:
    """`~` and `~/x` as `$HOME` has it, also for `~/.ssh`; other paths as they are."""
    if path == "~" or path.startswith("~/"):
        return home(environ) + path[1:]
    return path
