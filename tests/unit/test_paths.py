"""Where the files are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from jtunnel import paths


def test_overrides_win() -> None:
    environ = {
        "JTUNNEL_RUNTIME_DIR": "/r",
        "JTUNNEL_STATE_DIR": "/s",
        "JTUNNEL_CONFIG": "/c.toml",
        "XDG_RUNTIME_DIR": "/x",
        "XDG_CONFIG_HOME": "/y",
    }
    assert paths.control_socket(environ) == "/r/control.sock"
    assert paths.log_file(environ) == "/s/jtunnel.log"
    assert paths.config_file(environ) == "/c.toml"


def test_config_follows_xdg_everywhere() -> None:
    assert paths.config_file({"XDG_CONFIG_HOME": "/y"}) == "/y/jtunnel/config.toml"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no XDG_RUNTIME_DIR")
def test_runtime_dir_is_the_sessions(tmp_path: Path) -> None:
    assert paths.runtime_dir({"XDG_RUNTIME_DIR": str(tmp_path)}) == f"{tmp_path}/jtunnel"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no XDG_RUNTIME_DIR")
def test_runtime_dir_without_a_session_is_private_to_the_account(tmp_path: Path) -> None:
    missing = {"XDG_RUNTIME_DIR": str(tmp_path / "missing")}
    assert paths.runtime_dir(missing) == f"/tmp/jtunnel-{os.getuid()}"


def test_default_socket_paths_fit() -> None:
    assert len(paths.control_socket({"HOME": "/Users/a-name-of-many-letters"})) <= paths.MAX_SOCKET_PATH


@pytest.mark.parametrize(
    ("path", "expected"),
    [("~", "/h"), ("~/x", "/h/x"), ("~me/x", "~me/x"), ("/a/~", "/a/~"), ("a", "a")],
)
def test_tilde_is_home(path: str, expected: str) -> None:
    assert paths.expand(path, {"HOME": "/h"}) == expected
