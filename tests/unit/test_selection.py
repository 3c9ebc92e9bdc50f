"""Which profiles a command means."""

from __future__ import annotations

import pytest

from jtunnel.config.profile import Profile
from jtunnel.daemon.selection import matching, select
from jtunnel.errors import ConfigError

PATH = "/c.toml"
PROFILES = {
    name: Profile(name, "h", tags=tags)
    for name, tags in (("gpu1", ("work", "big")), ("gpu2", ()), ("db", ("work",)))
}


@pytest.mark.parametrize(
    ("names", "tags", "every", "chosen"),
    [
        (["db"], [], False, ["db"]),
        (["db", "gpu1", "db"], [], False, ["gpu1", "db"]),
        (["gpu*"], [], False, ["gpu1", "gpu2"]),
        (["gpu?", "gpu1"], [], False, ["gpu1", "gpu2"]),
        (["*[!1-9]"], [], False, ["db"]),
        ([], ["work"], False, ["gpu1", "db"]),
        ([], ["b*"], False, ["gpu1"]),
        (["gpu2"], ["big"], False, ["gpu1", "gpu2"]),
        ([], [], True, ["gpu1", "gpu2", "db"]),
    ],
)
def test_what_is_meant_in_the_configs_order(
    names: list[str], tags: list[str], every: bool, chosen: list[str]
) -> None:
    assert select(PROFILES, PATH, names, tags, every=every) == chosen


@pytest.mark.parametrize(
    ("names", "tags", "words"),
    [
        (["gpo1"], [], "no profile 'gpo1' in /c.toml; did you mean gpu1?"),
        (["x"], [], "no profile 'x' in /c.toml; there are: gpu1, gpu2, db"),
        (["cpu*"], [], "no profile matches 'cpu*'; there are: gpu1, gpu2, db"),
        (["gpu*", "x*"], [], "no profile matches 'x*'; there are: gpu1, gpu2, db"),
        ([], ["home"], "no profile has the tag home; see /c.toml"),
        ([], [], "no profile is named; name one, or --all: gpu1, gpu2, db"),
        (["GPU1"], [], "no profile 'GPU1' in /c.toml; did you mean gpu1?"),
    ],
)
def test_what_is_not_there_is_said(names: list[str], tags: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        select(PROFILES, PATH, names, tags)
    assert str(caught.value) == words


def test_the_only_profile_needs_no_name() -> None:
    assert select({"a": Profile("a", "h")}, PATH, []) == ["a"]


def test_no_profiles_at_all() -> None:
    with pytest.raises(ConfigError, match="there are no profiles"):
        select({}, PATH, ["a"])


def test_a_look_that_fits_nothing_is_no_mistake() -> None:
    assert matching(PROFILES, ["x"], ["y"]) == []
