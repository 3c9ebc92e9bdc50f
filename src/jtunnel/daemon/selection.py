"""Which profiles a command means: names, patterns, tags, all, or the only one there is."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase

from jtunnel.config.load import SHORTEST_PROFILE
from jtunnel.config.profile import Profile
from jtunnel.errors import ConfigError


def select(
    profiles: Mapping[str, Profile],
    path: str,
    names: Sequence[str],
    tags: Sequence[str] = (),
    *,
    every: bool = False,
) -> list[str]:
    """The profiles that are meant, in the order of the config file at `path`; the only one without any word.

    Names and tags may be patterns as in a shell. Raises ConfigError (`unknown-profile`, `usage`).
    """
    if not profiles:
        raise ConfigError(
            "unknown-profile",
            f"there are no profiles in {path}",
            f"write one there, for a host you name in ssh: {SHORTEST_PROFILE}",
        )
    if not (names or tags or every):
        if len(profiles) == 1:
            return list(profiles)
        raise ConfigError("usage", "no profile is named", f"name one, or --all: {', '.join(profiles)}")
    for name in names:
        if not any(fnmatchcase(known, name) for known in profiles):
            raise unknown(name, profiles, path)
    chosen = matching(profiles, names, tags, every=every)
    if not chosen:
        raise ConfigError("unknown-profile", f"no profile has the tag {' or '.join(tags)}", f"see {path}")
    return chosen


def matching(
    profiles: Mapping[str, Profile], names: Sequence[str], tags: Sequence[str], *, every: bool = False
) -> list[str]:
    """Those that have one of these names or tags; none is no mistake."""
    return [
        name
        for name, profile in profiles.items()
        if every
        or any(fnmatchcase(name, pattern) for pattern in names)
        or any(fnmatchcase(tag, pattern) for tag in profile.tags for pattern in tags)
    ]


def unknown(name: str, known: Collection[str], path: str) -> ConfigError:
    """There is no such profile, but perhaps one that is nearly called so."""
    if any(sign in name for sign in "*?["):
        return ConfigError(
            "unknown-profile", f"no profile matches {name!r}", f"there are: {', '.join(known) or 'none'}"
        )
    folded = {each.lower(): each for each in known}
    near = [folded[each] for each in difflib.get_close_matches(name.lower(), folded, n=1)]
    advice = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"
    return ConfigError("unknown-profile", f"no profile {name!r} in {path}", advice)
