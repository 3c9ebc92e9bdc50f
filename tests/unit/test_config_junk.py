"""Whatever stands in the config file: it loads, or ConfigError says why in clear lines."""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jtunnel.config.load import load_config
from jtunnel.config.profile import Profile
from jtunnel.config.schema import ProfileTable
from jtunnel.errors import ConfigError

scalars = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]))
    | st.sampled_from(["auto", "6006", "~/x", "none", "a@b:22", "on-demand", "8888", "nohup"])
    | st.dates()
    | st.times()
    | st.datetimes()
)
names = st.sampled_from(
    [
        "profiles",
        "defaults",
        "gpu",
        "a b",
        "[key]",
        "string",
        "table",
        "str",
        *ProfileTable.model_fields,
        "local_port",
        "remote_port",
        "listen",
        "target",
        "kind",
        "launcher",
        "command",
        "conda_env",
    ]
) | st.text(string.ascii_letters + "-. é", min_size=1, max_size=8)
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
tables = st.dictionaries(names, junk, max_size=5)
profiles = (
    st.fixed_dictionaries({"host": st.just("h") | scalars}, optional={"jupyter": tables | junk}) | tables
)
documents = tables | st.fixed_dictionaries(
    {}, optional={"profiles": st.dictionaries(names, profiles, max_size=3) | junk, "defaults": tables | junk}
)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents)
def test_any_toml_is_loaded_or_refused_in_clear_lines(tmp_path: Path, document: dict[str, Any]) -> None:
    check_loaded_or_refused(tmp_path, tomlkit.dumps(document).encode())


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary() | st.text("[]{}=\"\n'#.,ab1\\").map(str.encode))
def test_any_file_is_loaded_or_refused_in_clear_lines(tmp_path: Path, content: bytes) -> None:
    check_loaded_or_refused(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        "a." * 2_000 + "a = 1",
        "profiles.gpu." + "a." * 2_000 + "a = 1",
        "a = " + "[" * 20_000,
        "a = " + "9" * 10_000,
        "profiles.gpu.port = 0x" + "f" * 10_000,
        "profiles.gpu.hold = 0x" + "f" * 10_000,
        'profiles.gpu.host = "' + "a" * 100_000 + ' "',
        "profiles.gpu.forwards = [" + "5," * 2_000 + "]",
        "profiles.gpu.launcher = []",
        "profiles.gpu.jupyter.launcher = []",
    ],
    ids=range(10),
)
def test_outsized_files_are_refused_in_clear_lines(tmp_path: Path, content: str) -> None:
    check_loaded_or_refused(tmp_path, content.encode(), refused=True)


def check_loaded_or_refused(directory: Path, content: bytes, *, refused: bool = False) -> None:
    path = directory / "config.toml"
    path.write_bytes(content)
    profiles: Mapping[str, Profile] = {}
    lines: tuple[str, ...] = ()
    try:
        profiles = load_config(str(path), {"HOME": "/home/me"}).profiles
    except ConfigError as error:
        lines = error.lines
    assert lines or not refused
    for line in lines:
        assert line.startswith("config.toml: ")
        assert line.isprintable()
        assert len(line) < 600
    assert len(set(lines)) == len(lines)
    for name, profile in profiles.items():
        assert profile.name == name
        hash(profile)
