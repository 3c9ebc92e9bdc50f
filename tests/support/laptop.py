"""A remote machine with JupyterLab, and a laptop with jtunnel that reaches it: both ends of the main job."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping

from jtunnel.status import JupyterStatus, TunnelStatus
from tests.support import processes
from tests.support.accounts import Account, current_account, new_account
from tests.support.client import Jtunnel
from tests.support.home import SYSTEM_PATH, Home
from tests.support.keys import Key
from tests.support.notebook import Jupyter
from tests.support.sshd import Options, Sshd

#: The only profile, and the Host alias in ~/.ssh/config that it names.
NAME = "gpu"
ALIAS = "box"
UP_TIMEOUT_S = 100.0
#: What `up` says while it is at it.
_PROGRESS = rf"jtunnel: {NAME}: (connecting|looking|starting|retrying)\b.*"
#: A JupyterLab that asks nobody outside for news and new versions.
_JUPYTER_CONFIG = """
from importlib.metadata import version
if int(version("jupyterlab").split(".")[0]) >= 4:
    c.LabApp.news_url = None
    c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
    c.LabApp.extension_manager = "readonly"
"""
_NOTIFICATIONS = ".jupyter/lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"


@contextlib.contextmanager
def remote_account(shell: str = "/bin/bash", home_suffix: str = "") -> Iterator[Account]:
    """Someone to log in as: another user with root, else this one with a home of its own.

    At the end nothing that was started there runs any more. A shell and a home's name take root.
    """
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0:
            account = stack.enter_context(new_account(shell, home_suffix))
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


@contextlib.contextmanager
def new_laptop(
    account: Account, host_key: Key, client_key: Key, *, path: str = "", options: Options | None = None
) -> Iterator[Laptop]:
    """A laptop that has never been at `account`, and an sshd for it alone.

    `path` are directories before sshd's own PATH; `options` are sshd_config(5)'s.
    """
    environ = {"PATH": f"{path}:{SYSTEM_PATH}"} if path else {}
    with (
        Sshd(host_key, account, authorized=[client_key], env=environ, options=options) as sshd,
        new_jtunnel() as jtunnel,
    ):
        yield Laptop(jtunnel, sshd, client_key)


@contextlib.contextmanager
def new_jtunnel() -> Iterator[Jtunnel]:
    """jtunnel in a home of its own; its daemon and the home are gone at the end."""
    home = Home()
    jtunnel = Jtunnel(home)
    try:
        yield jtunnel
    finally:
        try:
            jtunnel.close()
        finally:
            home.remove()


class Laptop:
    """A home with jtunnel, whose one profile leads to `sshd`'s account; the daemon is `jtunnel`'s to end."""

    def __init__(self, jtunnel: Jtunnel, sshd: Sshd, key: Key) -> None:
        self.jtunnel = jtunnel
        self.home = jtunnel.home
        self.sshd = sshd
        self.home.add_host(
            ALIAS,
            host=sshd.host,
            port=sshd.port,
            user=sshd.account.name,
            identity=key,
            host_key=sshd.host_key,
        )
        self.configure()

    def configure(self, jupyter: Mapping[str, object] | None = None) -> None:
        """Write the config anew, with these keys in the profile's Jupyter table."""
        lines = [f"[profiles.{NAME}]", f'host = "{ALIAS}"', f"[profiles.{NAME}.jupyter]"]
        options = {"local_port": "auto", **(jupyter or {})}
        lines += [f"{name} = {_toml(value)}" for name, value in options.items()]
        self.jtunnel.write_config("\n".join(lines) + "\n")

    def up(self) -> JupyterStatus:
        """Bring the tunnel up, which has to succeed; the answer is what is then known of the server."""
        self.jtunnel.check("up", NAME, timeout=UP_TIMEOUT_S)
        assert self.tunnel()["state"] == "up"
        return self.server()

    def up_fails(self, kind: str, *words: str, code: int = 4) -> str:
        """`up` exits with `code` and ends with one line that has these words, which is the answer.

        The tunnel is then blocked by a problem of that kind.
        """
        ended = self.jtunnel.run("up", NAME, timeout=UP_TIMEOUT_S)
        assert (ended.returncode, ended.stdout) == (code, ""), f"{ended.stderr}\n{self.jtunnel.log_tail()}"
        *progress, last = ended.stderr.splitlines()
        assert all(word in last for word in words), ended.stderr
        assert all(re.fullmatch(_PROGRESS, line) for line in progress), ended.stderr
        assert self.jtunnel.blocked_by(NAME) == kind
        problem = self.tunnel()["problem"]
        assert problem is not None
        assert problem["advice"]
        return last

    def log_in(self, script: str, *, timeout_s: float = 60.0) -> str:
        """Run a script of sh over there as a person does, with OpenSSH's client; the answer is its output."""
        login = self.home.ssh(ALIAS, "exec /bin/sh")
        ended = subprocess.run(
            login, input=script, env=self.home.env, capture_output=True, text=True, timeout=timeout_s
        )
        assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}"
        return ended.stdout

    def start_by_hand(self, command: str = "jupyter lab --no-browser") -> int:
        """Log in and start a server as people do; the answer is its process once it listens."""
        words = "--allow-root" if self.sshd.account.uid == 0 else ""
        started = self.log_in(
            f"cd; nohup {command} {words} >by-hand.log 2>&1 </dev/null & server=$!; echo $server; "
            "until grep -q 'is running at' by-hand.log; do "
            "kill -0 $server || { cat by-hand.log; exit 1; }; sleep 0.1; done"
        )
        return int(started)

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


def _toml(value: object) -> str:
    """A value as TOML has it; JSON's notation but for tables."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(each)}" for name, each in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
