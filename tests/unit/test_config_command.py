"""`jtunnel config check|path|schema`, as other programs see it, and the example file."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jtunnel.commands.config import run
from jtunnel.config.load import load_config
from jtunnel.config.schema import config_schema

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "config.example.toml"
ENVIRON = {"HOME": "/home/me"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def run_config(config: Path, action: str) -> int:
    return run({**ENVIRON, "JTUNNEL_CONFIG": str(config)}, action=action)


@pytest.mark.parametrize(("count", "said"), [(0, "0 profiles"), (1, "1 profile"), (2, "2 profiles")])
def test_check_of_a_good_file(
    config: Path, capsys: pytest.CaptureFixture[str], count: int, said: str
) -> None:
    config.write_text("".join(f"[profiles.p{number}]\nhost = 'h'\n" for number in range(count)))
    assert run_config(config, "check") == 0
    assert capsys.readouterr() == (f"{config}: {said}, fine\n", "")


def test_check_prints_all_mistakes(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("[profiles.gpu]\nhots = 'h'\nport = 0\n")
    assert run_config(config, "check") == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines() == [
        'config.toml: profiles.gpu.hots: unknown key; did you mean "host"?',
        "config.toml: profiles.gpu.port: expected a port (1 to 65535), found the number 0",
        "config.toml: profiles.gpu.host: missing; expected a host name or an alias from ~/.ssh/config",
        f"correct them in {config}",
    ]


def test_check_of_a_missing_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_config(config, "check") == 2
    output = capsys.readouterr()
    assert output.out == ""
    message, advice = output.err.splitlines()
    assert message == f"there is no config file {config}"
    assert advice.endswith('profiles.gpu = { host = "gpu-box", jupyter = {} }')


def test_path(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_config(config, "path") == 0
    assert capsys.readouterr() == (f"{config}\n", "")


def test_schema_is_json_schema(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_config(config, "schema") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == config_schema()
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def nodes(schema: object) -> Iterator[dict[str, Any]]:
    """Every schema inside a JSON Schema, itself included."""
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from nodes(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from nodes(value)


def test_schema_helps_editors() -> None:
    tables = [node for node in nodes(config_schema()) if node.get("type") == "object"]
    assert len(tables) >= 6
    for table in tables:
        assert table["additionalProperties"] is False
        for key, field in table.get("properties", {}).items():
            assert field["description"], key
            assert field["title"], key
    assert not [node for node in nodes(config_schema()) if node.get("type") == "null"]


def test_example_loads_as_it_is() -> None:
    profiles = load_config(str(EXAMPLE), ENVIRON).profiles
    assert list(profiles) == ["gpu", "services", "all-keys", "tensorboard", "editor"]
    assert {forward.kind for forward in profiles["services"].forwards} == {"local", "remote", "dynamic"}


def test_example_names_every_key() -> None:
    text = EXAMPLE.read_text()
    for table in config_schema()["$defs"].values():
        for key in table["properties"]:
            assert re.search(rf"^\s*(# )?{key} = |[{{,] {key} = |\.{key}\]", text, re.MULTILINE), key


def test_example_loads_with_its_comments_taken_off(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", EXAMPLE.read_text())
    path = tmp_path / "config.toml"
    path.write_text(text)
    full = load_config(str(path), ENVIRON).profiles["all-keys"]
    assert full.jump == ("me@bastion:2222",)
    tables = tomllib.loads(text)["profiles"]["all-keys"]
    schema = config_schema()["$defs"]
    # A profile has one of the two.
    assert {*tables, "service"} == set(schema["ProfileTable"]["properties"])
    assert set(tables["jupyter"]) == set(schema["JupyterTable"]["properties"])
    profiles = tomllib.loads(text)["profiles"]
    named = {*profiles["tensorboard"]["service"], *profiles["editor"]["service"]}
    assert {*named, "python", "venv", "setup", "env"} == set(schema["ServiceTable"]["properties"])
