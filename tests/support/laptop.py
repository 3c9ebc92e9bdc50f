"""A remote machine with JupyterLab, and a laptop with jtunnel that reaches it: both ends of the main job."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping

from jtunnel.status import JupyterStatus, TunnelStatus
from tests.support import processes
from tests.support.accounts import Account, current_account, new_account
from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.keys import Key
from tests.support.notebook import Jupyter
from tests.support.sshd import Sshd

#: The only profile, and the Host alias in ~/.ssh/config that it names.
NAME = "gpu"
ALIAS = "box"
UP_TIMEOUT_S = 100.0
#: A JupyterLab that asks nobody outside for news and new versions.
_JUPYTER_CONFIG = """
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
"""
_NOTIFICATIONS = ".jupyter/lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"


@contextlib.contextmanager
def remote_account() -> Iterator[Account]:
    """Someone to log in as: another user with root, else this one with a home of its own.

    At the end nothing that was started there runs any more.
    """
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0:
            account = stack.enter_context(new_account())
        else:
            home = Home()
            stack.callback(home.remove)
            account = current_account(home.path)
        yield stack.enter_context(prepared(account))


@contextlib.contextmanager
def prepared(account: Account) -> Iterator[Account]:
    """The account with a config for JupyterLab; all of its sessions' processes are ended at the end."""
    account.write(".jupyter/jupyter_lab_config.py", _JUPYTER_CONFIG)
    account.write(_NOTIFICATIONS, '{"checkForUpdates": false, "fetchNews": "false"}')
    try:
        yield account
    finally:
        processes.kill(processes.running_with("HOME", account.home))


class Laptop:
    """A home with jtunnel, whose one profile leads to `sshd`'s account; the daemon is `jtunnel`'s to end."""

    def __init__(self, jtunnel: Jtunnel, sshd: Sshd, key: Key) -> None:
        self.jtunnel = jtunnel
        self.home = jtunnel.home
        self.home.add_host(
            ALIAS, port=sshd.port, user=sshd.account.name, identity=key, host_key=sshd.host_key
        )
        self.configure()

    def configure(self, jupyter: Mapping[str, object] | None = None) -> None:
        """Write the config anew, with these keys in the profile's Jupyter table."""
        lines = [f"[profiles.{NAME}]", f'host = "{ALIAS}"', f"[profiles.{NAME}.jupyter]"]
        options = {"local_port": "auto", **(jupyter or {})}
        lines += [f"{name} = {json.dumps(value)}" for name, value in options.items()]
        self.jtunnel.write_config("\n".join(lines) + "\n")

    def up(self) -> JupyterStatus:
        """Bring the tunnel up, which has to succeed; the answer is what is then known of the server."""
        self.jtunnel.check("up", NAME, timeout=UP_TIMEOUT_S)
        assert self.tunnel()["state"] == "up"
        return self.server()

    def tunnel(self) -> TunnelStatus:
        """The status of the tunnel."""
        return self.jtunnel.tunnel(NAME)

    def server(self) -> JupyterStatus:
        """What the status says of the server."""
        server = self.tunnel()["jupyter"]
        assert server is not None
        return server

    def jupyter(self) -> Jupyter:
        """The server at the address that `jtunnel url` prints."""
        return Jupyter(self.jtunnel.check("url", NAME))
