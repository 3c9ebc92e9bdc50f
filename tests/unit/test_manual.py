"""The man page: it is what its parts give, roff takes it without a word, and an installed wheel has it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from docs.manual import DIRECTORY, page
from jtunnel.client.table import COMMANDS
from jtunnel.errors import KINDS
from jtunnel.status import State
from tests.support.programs import find_program

PAGE = os.path.join(DIRECTORY, "jtunnel.1")
ROOT = os.path.dirname(DIRECTORY)
WAIT_S = 120


def output_of(*command: str, cwd: str | None = None) -> str:
    """What a program has to say on both of its outputs, in a wide terminal."""
    settings = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "MANWIDTH": "200", "MANPAGER": "cat"}
    done = subprocess.run(
        command,
        env=settings,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WAIT_S,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def plain(shown: str) -> str:
    """Without what makes words bold or underlined, and with single spaces."""
    return " ".join(re.sub(r".\x08|\x1b\[[0-9;]*m", "", shown).split())


def test_it_is_what_its_parts_give() -> None:
    with open(PAGE, encoding="utf-8") as file:
        assert file.read() == page(), "write it anew: make docs"


def test_roff_has_nothing_to_say() -> None:
    assert output_of(find_program("groff"), "-ww", "-mdoc", "-Tutf8", "-z", PAGE) == ""
    assert output_of(find_program("mandoc"), "-T", "lint", "-W", "warning", PAGE) == ""


def test_it_shows_what_has_to_be_typed() -> None:
    text = plain(output_of(find_program("groff"), "-mdoc", "-Tutf8", "-rLL=200n", PAGE))
    for command, (summary, examples, arguments, _) in COMMANDS.items():
        assert re.search(rf" {command}\b", text)
        assert f"{summary[0].upper()}{summary[1:]}." in text
        assert all(f"$ {example}" in text for example in examples)
        assert all(flag in text for flags, _ in arguments for flag in flags if flag.startswith("-"))
    for state in State.__args__:  # type: ignore[attr-defined]
        assert f" {state} " in text
    for code in {0, *(code for _, code in KINDS.values())}:
        assert f" {code} " in text[text.index("EXIT STATUS") :]


@pytest.mark.long
def test_an_installed_wheel_shows_it(tmp_path: Path) -> None:
    output_of(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    packed = zipfile.ZipFile(wheel).namelist()
    assert {f"jtunnel/commands/scripts/completion.{shell}" for shell in ("bash", "zsh", "fish")} <= {*packed}
    # An environment of its own: with --prefix, pip would take away the jtunnel that is being tested.
    output_of(sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv"))
    pip = (sys.executable, "-m", "pip", "--python", str(tmp_path / "venv" / "bin" / "python"))
    output_of(*pip, "install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel))
    manual = str(tmp_path / "venv" / "share" / "man")
    shown = plain(output_of(find_program("man"), "-M", manual, "jtunnel"))
    assert "keep a remote Jupyter server at a local address" in shown
    assert plain(output_of(find_program("man"), "-M", manual, "jtunneld")) == shown
