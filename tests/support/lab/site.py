"""A server with sshd and services, and a laptop whose ~/.ssh/config knows it: where tunnels are tried.

Starts no tunnel; whoever does runs it in `network.laptop`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.support import processes
from tests.support.accounts import Account
from tests.support.home import Home
from tests.support.keys import Key
from tests.support.lab.beacon import Beacon
from tests.support.lab.namespace import Namespace
from tests.support.lab.network import SERVER_ADDRESS, SERVER_NAME, Network, open_network
from tests.support.lab.talk import TalkServer
from tests.support.sshd import Options, Sshd
from tests.support.streams import EchoServer

#: The Host alias in ~/.ssh/config.
ALIAS: Final = "box"
_SSH_PORT: Final = 22
_WHOLE_LOG: Final = 1_000_000


class LabSshd(Sshd):
    """OpenSSH's sshd on the server, at port 22 of its address; sessions are on the server too."""

    def __init__(
        self,
        namespace: Namespace,
        host_key: Key,
        account: Account,
        *,
        authorized: Sequence[Key],
        options: Options | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            host_key, account, authorized=authorized, options=options, env=env, host=SERVER_ADDRESS
        )
        self._namespace = namespace
        self.port = _SSH_PORT

    def start(self) -> None:
        """See `Sshd.start`."""
        self._namespace.call(super().start)

    @property
    def logins(self) -> int:
        """How often somebody has logged in so far."""
        return self.log.tail(_WHOLE_LOG).count("Accepted publickey")


@dataclass(frozen=True, slots=True)
class Site:
    """`echo` sends back what it gets, `talks` holds conversations, both on the server's loopback."""

    network: Network
    sshd: LabSshd
    home: Home
    echo: EchoServer
    talks: TalkServer
    beacon: Beacon

    def reboot(self) -> None:
        """Let the server have died and come back: nothing that the account ran is there any more."""
        self.sshd.kill()
        processes.kill(processes.running_with("HOME", self.sshd.account.home))
        self.sshd.start()


@contextlib.contextmanager
def open_site(
    home: Home,
    account: Account,
    *,
    host_key: Key,
    client_key: Key,
    slow: bool = False,
    env: Mapping[str, str] | None = None,
) -> Iterator[Site]:
    """Build it and start all services for as long as the block runs; `env` is for sshd's sessions."""
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(open_network(slow=slow))
        sshd = stack.enter_context(
            LabSshd(network.server, host_key, account, authorized=[client_key], env=env)
        )
        home.add_host(
            ALIAS,
            host=SERVER_NAME,
            port=sshd.port,
            user=account.name,
            identity=client_key,
            host_key=host_key,
        )
        echo = stack.enter_context(network.server.call(EchoServer))
        talks = stack.enter_context(TalkServer(network.server))
        beacon = stack.enter_context(Beacon(network.laptop, network.server, SERVER_ADDRESS))
        yield Site(network, sshd, home, echo, talks, beacon)
