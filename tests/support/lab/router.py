"""A NAT router: what it forwards, drops, turns away and forgets. Knows nothing of SSH.

It behaves as home routers do: a packet of a flow that it does not know is dropped without a word.
"""

from __future__ import annotations

from typing import Final, Literal

from tests.support.lab.namespace import Namespace

LAN: Final = "lan0"
WAN: Final = "wan0"

#: Seen from the laptop: towards the server, from it, or both.
Direction = Literal["out", "in", "both"]

_RULES: Final = f"""
table inet lab {{
    chain faults {{ type filter hook forward priority -10; policy accept; }}
    chain known {{ type filter hook forward priority 0; policy accept; ct state invalid drop; }}
    chain own {{ type filter hook input priority 0; policy accept; iifname "{WAN}" drop; }}
}}
table ip lab_nat {{
    chain out {{ type nat hook postrouting priority 100; oifname "{WAN}" masquerade random; }}
}}
"""
_ARRIVING: Final = {"out": f'iifname "{LAN}"', "in": f'iifname "{WAN}"', "both": ""}


class Router:
    """One router in its namespace; the interfaces `lan0` and `wan0` are there when this is made."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        namespace.write("/proc/sys/net/ipv4/ip_forward", "1")
        # Else a flow that it has forgotten would be taken up again in its middle.
        namespace.write("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", "0")
        self._nft(_RULES)

    def drop(self, direction: Direction = "both") -> None:
        """Let every packet vanish: neither side is told."""
        self._fault(f"{_ARRIVING[direction]} drop")

    def lose(self, percent: int, direction: Direction = "both") -> None:
        """Let this share of the packets vanish, each by chance."""
        self._fault(f"{_ARRIVING[direction]} numgen random mod 100 < {percent} drop")

    def reject(self) -> None:
        """Answer every packet of the laptop's with "host unreachable"."""
        self._fault(f"{_ARRIVING['out']} reject with icmp type host-unreachable")

    def reset(self) -> None:
        """Answer every TCP packet of the laptop's with a reset."""
        self._fault(f"{_ARRIVING['out']} meta l4proto tcp reject with tcp reset")

    def heal(self) -> None:
        """Forward everything again, also what belongs to flows from before the fault."""
        self._nft("flush chain inet lab faults")

    def forget(self) -> None:
        """Forget all flows, as by a restart: established ones are dead and silent, new ones are fine."""
        # It answers 1 where there was nothing to forget.
        self.namespace.run("sh", "-c", "conntrack -F || [ $? = 1 ]")

    def _fault(self, rule: str) -> None:
        self._nft(f"flush chain inet lab faults\nadd rule inet lab faults {rule}")

    def _nft(self, script: str) -> None:
        self.namespace.run("nft", "-f", "-", stdin=script)
