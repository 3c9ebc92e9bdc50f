"""The lab's wires: a laptop, two NAT routers that it may be connected to, and a server behind both.

laptop ─ wifi0 ── home router ──┐
       └ cable0 ─ cafe router ──┴─ server
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.support.home import SYSTEM_PATH
from tests.support.lab.name_server import NameServer
from tests.support.lab.namespace import Namespace
from tests.support.lab.router import LAN, WAN, Router
from tests.support.lab.slow_wire import SlowWire
from tests.support.lab.uplink import PREFIX, Uplink

#: What the name server tells for SERVER_NAME; the address is the server's over both routers.
SERVER_ADDRESS: Final = "192.0.2.10"
SERVER_NAME: Final = "box.example"
_PROGRAMS: Final = ("ip", "ss", "nft", "conntrack")
_RESOLVER_ADDRESS: Final = "192.0.2.53"
_SERVER_NETWORK: Final = "192.0.2.0/24"
#: The laptop's interface, and the two networks of each router: towards the laptop and towards the server.
_HOME: Final = ("wifi0", "192.168.1", "198.51.100")
_CAFE: Final = ("cable0", "192.168.2", "203.0.113")


@dataclass(frozen=True, slots=True)
class Network:
    """At first the laptop is at home; the cafe's wire has no carrier. `slow` is None for a plain wire."""

    laptop: Namespace
    server: Namespace
    home: Uplink
    cafe: Uplink
    names: NameServer
    slow: SlowWire | None


@contextlib.contextmanager
def open_network(*, slow: bool = False) -> Iterator[Network]:
    """Make it all for as long as the block runs; `slow` has a wire behind the home router that can delay."""
    missing = [name for name in _PROGRAMS if shutil.which(name, path=SYSTEM_PATH) is None]
    if missing:
        raise RuntimeError(f"not installed: {', '.join(missing)}; install it: sh tests/setup/system.sh")
    directory = tempfile.mkdtemp(prefix="jt-lab-", dir="/tmp")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        resolv_conf = os.path.join(directory, "resolv.conf")
        with open(resolv_conf, "w") as file:
            file.write(f"nameserver {_RESOLVER_ADDRESS}\n")
        laptop, home, cafe, server = (stack.enter_context(Namespace(resolv_conf)) for _ in range(4))
        for address in (SERVER_ADDRESS, _RESOLVER_ADDRESS):
            server.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        wire = None
        if slow:
            wire = stack.enter_context(SlowWire(home, WAN, server, _HOME[0]))
        else:
            _connect(home, WAN, server, _HOME[0])
        _connect(cafe, WAN, server, _CAFE[0])
        uplinks = [
            _open_uplink(laptop, router, server, *names) for router, names in ((home, _HOME), (cafe, _CAFE))
        ]
        names = stack.enter_context(NameServer(server, _RESOLVER_ADDRESS, {SERVER_NAME: SERVER_ADDRESS}))
        uplinks[0].plug()
        uplinks[0].lease()
        yield Network(laptop, server, uplinks[0], uplinks[1], names, wire)


def _open_uplink(
    laptop: Namespace, router: Namespace, server: Namespace, interface: str, inner: str, outer: str
) -> Uplink:
    """Wire a router to the laptop and number its two sides; the laptop's side has no carrier yet."""
    _connect(laptop, interface, router, LAN)
    laptop.run("ip", "link", "set", interface, "up")
    router.run("ip", "address", "add", f"{inner}.1/{PREFIX}", "dev", LAN)
    router.run("ip", "address", "add", f"{outer}.2/{PREFIX}", "dev", WAN)
    router.run("ip", "link", "set", WAN, "up")
    server.run("ip", "address", "add", f"{outer}.1/{PREFIX}", "dev", interface)
    server.run("ip", "link", "set", interface, "up")
    router.run("ip", "route", "add", _SERVER_NETWORK, "via", f"{outer}.1")
    return Uplink(laptop, interface, Router(router), inner)


def _connect(one: Namespace, name: str, other: Namespace, other_name: str) -> None:
    """Lay a wire between two machines, both ends switched off."""
    one.run("ip", "link", "add", name, "type", "veth", "peer", "name", other_name, "netns", other.path)
