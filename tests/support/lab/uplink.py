"""One of the laptop's interfaces and the router behind it: carrier, addresses, default route.

Does what a DHCP client would, since none runs here.
"""

from __future__ import annotations

from typing import Final

from tests.support.lab.namespace import Namespace
from tests.support.lab.router import LAN, Router

PREFIX: Final = 24


class Uplink:
    """`network` is the first three numbers of its addresses; the router is number 1 of them."""

    def __init__(self, laptop: Namespace, interface: str, router: Router, network: str) -> None:
        self.interface = interface
        self.router = router
        self._laptop = laptop
        self._network = network
        self._host = 100

    @property
    def address(self) -> str:
        """The laptop's address here, while it has one."""
        return f"{self._network}.{self._host}"

    def plug(self) -> None:
        """Give the laptop's interface its carrier."""
        self.router.namespace.run("ip", "link", "set", LAN, "up")

    def unplug(self) -> None:
        """Take it away; addresses and routes stay, as until a DHCP client notices."""
        self.router.namespace.run("ip", "link", "set", LAN, "down")

    def enable(self) -> None:
        """Switch the laptop's interface on."""
        self._laptop.run("ip", "link", "set", self.interface, "up")

    def disable(self) -> None:
        """Switch it off, which removes its routes; its address stays."""
        self._laptop.run("ip", "link", "set", self.interface, "down")

    def lease(self) -> None:
        """Take the address and the default route; either may be there already."""
        subject = (f"{self.address}/{PREFIX}", "dev", self.interface)
        self._laptop.run("ip", "address", "replace", *subject)
        self._laptop.run(
            "ip", "route", "replace", "default", "via", f"{self._network}.1", "dev", self.interface
        )

    def release(self) -> None:
        """Lose the address, and with it all routes."""
        self._laptop.run("ip", "address", "flush", "dev", self.interface)

    def renumber(self) -> None:
        """Have another address at the next `lease`."""
        self._host += 1
