"""Forwards that `jtunnel forward` added and the config has not: they last while their tunnel is wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from jtunnel.address import TcpAddress
from jtunnel.config.collisions import Claim, find_rivals
from jtunnel.config.exposure import explain_exposed, is_exposed
from jtunnel.config.forward_syntax import ForwardSyntaxError, name_forwards, parse_forward
from jtunnel.config.profile import Forward, Profile
from jtunnel.daemon.wanted import Added
from jtunnel.errors import ConfigError
from jtunnel.status import ForwardKind

#: What a forward may be called over the control socket.
KINDS: Final[Mapping[str, ForwardKind]] = {"local": "local", "remote": "remote", "dynamic": "dynamic"}


class Temporary:
    """Who has which of them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._forwards: dict[str, tuple[Forward, ...]] = {}
        self._specs: dict[Forward, str] = {}

    @property
    def added(self) -> dict[str, list[Added]]:
        """How each was written, by profile: to be restored from."""
        return {
            name: [(self._specs[each], each.kind, each.name) for each in mine]
            for name, mine in self._forwards.items()
            if mine
        }

    def restore(self, profiles: Mapping[str, Profile], added: Mapping[str, Iterable[Added]]) -> None:
        """Add again what another daemon had; what is in the way by now is left out."""
        for name, specs in added.items():
            for spec, kind, label in specs:
                if name in profiles and kind in KINDS:
                    others = [other for key, other in profiles.items() if key != name]
                    with contextlib.suppress(ConfigError):
                        self.add(self.extend(profiles[name]), others, spec, KINDS[kind], label)

    def extend(self, profile: Profile) -> Profile:
        """The profile with its temporary forwards; those that the config has by now are none any more."""
        mine = self._forwards.get(profile.name, ())
        for each in mine:
            extended = replace(profile, forwards=(*profile.forwards, each))
            # One that the config has by now may have another name there.
            if _is_asked_for(each, profile.forwards) or any(find_rivals([extended])):
                self._forwards[profile.name] = tuple(other for other in mine if other is not each)
                mine = self._forwards[profile.name]
            else:
                profile = extended
        return profile

    def add(
        self, profile: Profile, others: Iterable[Profile], spec: str, kind: ForwardKind, label: str | None
    ) -> Forward:
        """Add one to a profile, whose temporary ones are in it; `others` are all the other profiles.

        Raises ConfigError `usage` where it cannot be read, is exposed without leave, or in the way.
        """
        try:
            forward = replace(parse_forward(spec, self._environ, kind), temporary=True)
        except ForwardSyntaxError as error:
            raise ConfigError(
                "usage",
                f"{spec!r} is no forward: {error.reason}",
                "write it as in ssh: 8787, or 8787:host:8787",
            ) from None
        if label:
            forward = replace(forward, name=label)
        same = [each for each in profile.forwards if replace(each, name="") == replace(forward, name="")]
        if same:
            return same[0]
        taken = [each.name for each in profile.forwards] + ([profile.served[0]] if profile.served else [])
        if label in taken:
            raise ConfigError("usage", f"{profile.name} has a forward {label}", "give it another name")
        (forward,) = name_forwards([forward], taken)
        if is_exposed(forward.listen) and not profile.gateway_ports:
            raise ConfigError("usage", f"{spec}: {explain_exposed(forward)}", "then try again")
        extended = replace(profile, forwards=(*profile.forwards, forward))
        for claim, rival in find_rivals([*others, extended]):
            owner = _owner(rival, [*others, profile])
            raise ConfigError(
                "usage",
                f"{claim.address} is taken by {owner}",
                "take another port, as in 8788:localhost:8787",
            )
        self._forwards[profile.name] = (*self._forwards.get(profile.name, ()), forward)
        self._specs[forward] = spec
        return forward

    def remove(self, profile: Profile, spec: str | None) -> list[str]:
        """Take one away by its name, port or text, or all; return their names. Raises ConfigError."""
        mine = self._forwards.get(profile.name, ())
        gone = mine if spec is None else tuple(each for each in mine if self._is_meant(each, spec))
        if not gone and spec is not None:
            raise self._not_temporary(profile, spec)
        self._forwards[profile.name] = tuple(each for each in mine if each not in gone)
        return [each.name for each in gone]

    def forget(self, names: Iterable[str]) -> list[str]:
        """These tunnels are not wanted any more; return which of them had any."""
        return [name for name in names if self._forwards.pop(name, None)]

    def rename(self, old: str, new: str) -> None:
        """A profile has another name."""
        if old in self._forwards:
            self._forwards[new] = self._forwards.pop(old)

    def _is_meant(self, forward: Forward, spec: str) -> bool:
        listen = forward.listen
        place = str(listen.port) if isinstance(listen, TcpAddress) else listen.path
        if spec in (forward.name, place, str(listen)):
            return True
        try:
            parsed = parse_forward(spec, self._environ, forward.kind)
        except ForwardSyntaxError:
            return False
        return replace(parsed, name=forward.name) == forward

    def _not_temporary(self, profile: Profile, spec: str) -> ConfigError:
        name = profile.name
        for forward in profile.forwards:
            if self._is_meant(forward, spec):
                return ConfigError(
                    "usage",
                    f"forward {forward.name} of {name} is in the config",
                    f"take it out there, too: jtunnel forward {name} {spec} --remove --keep",
                )
        known = ", ".join(forward.name for forward in profile.forwards) or "none"
        return ConfigError("usage", f"{name} has no forward {spec}", f"there are: {known}")


def _is_asked_for(forward: Forward, others: Iterable[Forward]) -> bool:
    """Whether another one listens at its place on the remote host."""
    return forward.kind == "remote" and any(
        other.kind == "remote" and other.listen == forward.listen for other in others
    )


def _owner(claim: Claim, profiles: Iterable[Profile]) -> str:
    """Whose claim it is, in words."""
    _, name, part, index = claim.path
    if part == "jupyter":
        return f"Jupyter of {name}"
    forwards = next(profile.forwards for profile in profiles if profile.name == name)
    return f"forward {forwards[int(index)].name} of {name}"
