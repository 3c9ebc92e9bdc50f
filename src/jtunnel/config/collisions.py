"""Finds what two parts of a config both want: a local address, a forward's name. Binds nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.config.keypath import KeyPath, dotted, quote
from jtunnel.config.profile import JupyterOptions, Profile


@dataclass(frozen=True, slots=True)
class Claim:
    """A local address, and the key in the config file that asks for it."""

    path: KeyPath
    address: Address


def find_collisions(profiles: Iterable[Profile]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the key and what is wrong for each address and each name that an earlier one has."""
    profiles = list(profiles)
    yield from _shared_addresses(profiles)
    for profile in profiles:
        yield from _shared_names(profile)


def _shared_addresses(profiles: Iterable[Profile]) -> Iterator[tuple[KeyPath, str]]:
    for claim, rival in find_rivals(profiles):
        yield claim.path, _sentence(claim, rival)


def find_rivals(profiles: Iterable[Profile]) -> Iterator[tuple[Claim, Claim]]:
    """Yield each claim to a local address that an earlier one is in the way of, and that."""
    earlier: dict[tuple[str, str | int], list[Claim]] = {}
    for profile in profiles:
        for claim in _claims(profile):
            rivals = earlier.setdefault(_place(claim.address), [])
            host = _host(claim.address)
            for rival in rivals:
                if "*" in (host, _host(rival.address)) or host == _host(rival.address):
                    yield claim, rival
                    break
            else:
                rivals.append(claim)


def _shared_names(profile: Profile) -> Iterator[tuple[KeyPath, str]]:
    path: KeyPath = ("profiles", profile.name)
    owners: dict[str, KeyPath] = {profile.served[0]: (*path, profile.served[0])} if profile.served else {}
    for index, forward in enumerate(profile.forwards):
        here: KeyPath = (*path, "forwards", index)
        owner = owners.setdefault(forward.name, here)
        if owner != here:
            name = quote(forward.name)
            yield (*here, "name"), f"{name} is the name of {dotted(owner)}; give it a name of its own"


def _claims(profile: Profile) -> Iterator[Claim]:
    path: KeyPath = ("profiles", profile.name)
    if profile.served:
        table, options = profile.served
        if isinstance(options.local_port, int):
            yield Claim((*path, table, "local_port"), TcpAddress("", options.local_port))
    for index, forward in enumerate(profile.forwards):
        if forward.kind != "remote":
            yield Claim((*path, "forwards", index), forward.listen)


def _place(address: Address) -> tuple[str, str | int]:
    """What two listeners in each other's way have in common; TCP hosts are compared apart."""
    if isinstance(address, UnixAddress):
        return "unix", os.path.normpath(address.path)
    return ("tcp6" if ":" in address.host else "tcp"), address.port


def _host(address: Address) -> str:
    """The host to compare, `*` for every interface."""
    if isinstance(address, UnixAddress):
        return ""
    # Loopback means 127.0.0.1 for certain, but ::1 only where that is free.
    host = address.host or "127.0.0.1"
    return "*" if host in ("0.0.0.0", "::") else host.lower()  # noqa: S104  (compared, not bound)


def _sentence(claim: Claim, rival: Claim) -> str:
    if claim.path[-1] == "local_port":
        remedy = 'set local_port to another port, or to "auto"'
        assert isinstance(claim.address, TcpAddress)
        if claim.address.port == JupyterOptions().local_port:
            remedy += f" ({claim.address.port} is its default)"
    else:
        remedy = "let one of them listen elsewhere"
    return f"{claim.address} is taken by {dotted(rival.path)}; {remedy}"
