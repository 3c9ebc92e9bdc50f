"""Which forwards other machines can reach, and those that the profile does not allow to. Opens nothing."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from jtunnel.address import Address, UnixAddress
from jtunnel.config.keypath import KeyPath
from jtunnel.config.profile import Forward, Profile


def is_exposed(address: Address) -> bool:
    """Whether a listening side is not loopback alone; of a host name that is not known before it is used."""
    if isinstance(address, UnixAddress) or not address.host:
        return False
    try:
        return not ipaddress.ip_address(address.host.partition("%")[0]).is_loopback
    except ValueError:
        return True


def explain_exposed(forward: Forward) -> str:
    """Why a profile without `gateway_ports` cannot have this forward, and what to do."""
    return (
        f"it listens on {forward.listen}, where other machines reach it; "
        "if that is meant, set gateway_ports = true in the profile"
    )


def find_exposed(profiles: Iterable[Profile]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the key and what is wrong for each forward that is exposed without the profile's word for it."""
    for profile in profiles:
        for index, forward in enumerate(profile.forwards):
            if is_exposed(forward.listen) and not profile.gateway_ports:
                yield ("profiles", profile.name, "forwards", index), explain_exposed(forward)
