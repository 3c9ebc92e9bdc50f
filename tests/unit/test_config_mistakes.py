"""What people read when their config file is wrong: whole lines, since these are the user interface.

The cases are in tests/data/config: a config file each, then `=>` and the line that it gets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jtunnel.config.load import load_config
from jtunnel.errors import ConfigError

DATA = Path(__file__).parent.parent / "data" / "config"
ENVIRON = {"HOME": "/home/me"}


def refuse(directory: Path, content: bytes) -> ConfigError:
    path = directory / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(str(path), ENVIRON)
    return caught.value


def cases(name: str) -> Iterator[tuple[str, str]]:
    """(config file, line) of each case in a file of tests/data/config."""
    text = ""
    for line in (DATA / name).read_text().splitlines():
        if line.startswith("=> "):
            yield text, line.removeprefix("=> ")
            text = ""
        else:
            text += line + "\n"


@pytest.mark.parametrize(
    ("text", "line"), [*cases("mistakes.txt"), *cases("broken-toml.txt"), *cases("collisions.txt")]
)
def test_one_mistake_one_line(tmp_path: Path, text: str, line: str) -> None:
    error = refuse(tmp_path, text.lstrip().encode())
    assert error.lines == (line,)
    assert error.message == line
    assert error.advice == f"correct it in {tmp_path / 'config.toml'}"
    assert not error.missing


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a = " + b"[" * 9999, "not valid TOML: nested too deeply"),
        (b"a = " + b"9" * 9999, "not valid TOML: a number with too many digits"),
        (b"a = 1\nb = 'caf\xe9'", "line 2: not UTF-8 text (byte 0xe9)"),
        ("a = 1".encode("utf-16"), "line 1: not UTF-8 text (byte 0xff)"),
    ],
    ids=["deep", "long", "latin-1", "utf-16"],
)
def test_what_is_no_toml_text(tmp_path: Path, content: bytes, line: str) -> None:
    assert refuse(tmp_path, content).lines == (f"config.toml: {line}",)


SERVERS = """
[profiles.a]
host = "a"
[profiles.a.jupyter]
[profiles.b]
host = "b"
[profiles.b.jupyter]
"""
FORWARDS = """
[profiles.a]
host = "a"
forwards = [{}]
[profiles.b]
host = "b"
forwards = [{}]
"""


@pytest.mark.parametrize(
    "text",
    [
        SERVERS + 'local_port = "auto"',
        SERVERS + "local_port = 8889",
        FORWARDS.format('"127.0.0.2:1:h:1"', '"1:h:1"'),
        FORWARDS.format('"[::1]:1:h:1"', '"1:h:1"'),
        "[defaults]\ngateway_ports = true\n" + FORWARDS.format('"*:1:h:1"', '"[::]:1:h:1"'),
        FORWARDS.format('"/a:h:1"', '"/b:h:1"'),
        FORWARDS.format('"1:h:1"', "{kind = 'remote', listen = '1', target = 'h:1'}"),
        FORWARDS.format("{name = 'jupyter', listen = '1', target = 'h:1'}", ""),
    ],
    ids=range(8),
)
def test_neighbours_are_no_collision(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    assert list(load_config(str(path), ENVIRON).profiles) == ["a", "b"]


def test_many_mistakes_are_all_named_in_the_order_of_the_file() -> None:
    path = DATA / "many-mistakes.toml"
    with pytest.raises(ConfigError) as caught:
        load_config(str(path), ENVIRON)
    lines = (DATA / "many-mistakes.txt").read_text().splitlines()
    assert list(caught.value.lines) == lines
    assert caught.value.message == f"{lines[0]} (and {len(lines) - 1} more)"
    assert caught.value.advice == f"correct it in {path}; `jtunnel config check` lists all"


def test_values_that_may_be_secret_are_not_shown(tmp_path: Path) -> None:
    text = """
    [profiles.gpu]
    host = "me:hunter2@gpu-box"
    password = "hunter2"
    jump = ["me:hunter2@gate gate"]
    [profiles.gpu.jupyter]
    token = "hunter2"
    command = 'jupyter lab --token="hunter2'
    """
    error = refuse(tmp_path, text.encode())
    assert len(error.lines) == 5
    assert "hunter2" not in "\n".join((*error.lines, str(error), repr(error)))
