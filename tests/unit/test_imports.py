"""The arrows between the parts of jtunnel point down only, and the daily commands load next to nothing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import jtunnel
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, forward, tunnel
from tests.support.thin_client import WAIT_S, Client

ROOT = os.path.dirname(jtunnel.__file__)
#: The package itself, for its version.
SHARED = frozenset({"", "errors", "status", "wire", "paths"})
WORDS = SHARED | {"address", "remote", "remote_shell", "changes"}
#: Part or module → what it may import of jtunnel, besides itself. `commands` may import anything.
ALLOWED: Mapping[str, frozenset[str]] = {
    "": frozenset(),
    "__main__": frozenset({"client"}),
    "errors": frozenset({"status"}),
    "status": frozenset(),
    "wire": frozenset(),
    "paths": frozenset(),
    "address": frozenset(),
    "remote": frozenset({"address"}),
    "remote_shell": frozenset(),
    "changes": frozenset(),
    "client": SHARED,
    "config": WORDS,
    "ssh": WORDS,
    # Profiles are values that the user's words were turned into: words themselves.
    "forward": WORDS | {"config.profile"},
    "service": WORDS | {"config.profile", "machine.boot"},
    "jupyter": WORDS | {"config.profile", "service"},
    "machine": frozenset({"changes"}),
    "link": WORDS | {"ssh", "machine"},
    "tunnel": WORDS
    | {
        "link",
        "forward",
        "jupyter",
        "service",
        "machine",
        "config.profile",
        "ssh.connection",
        "ssh.destination",
        "ssh.prompts",
    },
    "telling": WORDS | {"tunnel.transition", "tunnel.story", "tunnel.report", "machine", "config.profile"},
    "daemon": WORDS
    | {"telling", "tunnel", "link", "forward", "jupyter", "service", "machine", "config", "ssh"},
}
#: What is imported when called: another program in the same shell, and what writes the config.
EXCEPTIONS = {
    ("client.cli", "daemon"),
    ("client.cli", "daemon.process"),
    ("client.forwards", "commands"),
    ("client.forwards", "commands.keep"),
}
#: Libraries with one door → who may import them, besides `commands`.
DOORS = {"asyncssh": {"ssh"}, "cryptography": {"jupyter"}, "pydantic": {"config"}, "uvloop": {"daemon"}}
HEAVY = {"asyncio", "asyncssh", "pydantic", "ssl", "uvloop", "psutil"}
#: What `status` does without besides, since starting is most of its time.
SLOW = {
    "argparse",
    "dataclasses",
    "datetime",
    "getpass",
    "pathlib",
    "shutil",
    "subprocess",
    "tempfile",
    "typing",
}

MODULES_OF = """
import os, sys
from jtunnel.client.cli import main
try:
    main(sys.argv[1:])
finally:
    with open(os.environ["MODULES_FILE"], "w") as file:
        file.write("\\n".join(sys.modules))
"""


def modules() -> Iterator[tuple[str, str]]:
    """Each module of jtunnel by its name below the package, and its file."""
    for directory, _, files in os.walk(ROOT):
        for file in files:
            if file.endswith(".py"):
                path = os.path.join(directory, file)
                parts = os.path.relpath(path, ROOT)[: -len(".py")].split(os.sep)
                yield ".".join(part for part in parts if part != "__init__"), path


def imports(path: str) -> Iterator[str]:
    """The whole names of all modules that a file imports anywhere, also for type checking only."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            assert node.module is not None
            yield node.module
            base = os.path.join(os.path.dirname(ROOT), *node.module.split("."))
            for alias in node.names:
                inner = os.path.join(base, alias.name)
                if os.path.isdir(inner) or os.path.isfile(f"{inner}.py"):
                    yield f"{node.module}.{alias.name}"


def own(names: Iterator[str]) -> Iterator[str]:
    """Those of jtunnel's own modules, by their names below the package."""
    for name in names:
        if name == "jtunnel" or name.startswith("jtunnel."):
            yield name.removeprefix("jtunnel").removeprefix(".")


def is_allowed(importer: str, imported: str) -> bool:
    part = importer.partition(".")[0]
    if part == "commands" or imported.partition(".")[0] == part or (importer, imported) in EXCEPTIONS:
        return True
    words = imported.split(".")
    allowed = ALLOWED[part]
    if {".".join(words[:count]) for count in range(1, len(words) + 1)} & allowed:
        return True
    # The package above an allowed module: importing the one is importing the other.
    return any(name.startswith(f"{imported}.") for name in allowed)


def test_arrows_point_down_only() -> None:
    wrong = [
        f"{importer} imports {imported}"
        for importer, path in modules()
        for imported in own(imports(path))
        if not is_allowed(importer, imported)
    ]
    assert not wrong


def test_the_rules_forbid_what_they_should() -> None:
    for importer, imported in (
        ("client.up", "daemon.process"),
        ("client.cli", "config"),
        ("daemon.manager", "client.cli"),
        ("jupyter.find", "ssh"),
        ("forward.listener", "jupyter"),
        ("ssh.connect", "config.profile"),
        ("link.life", "tunnel"),
        ("tunnel.life", "config.load"),
        ("tunnel.life", "daemon.board"),
        ("tunnel.life", "ssh.connect"),
        ("errors", "wire"),
    ):
        assert not is_allowed(importer, imported), f"{importer} → {imported}"
    assert is_allowed("tunnel.life", "config.profile")
    assert is_allowed("client.views.show", "")


def test_libraries_come_in_by_their_own_door() -> None:
    wrong = [
        f"{importer} imports {imported}"
        for importer, path in modules()
        for imported in imports(path)
        if (library := imported.partition(".")[0]) in DOORS
        and importer.partition(".")[0] not in DOORS[library] | {"commands"}
    ]
    assert not wrong


def test_client_and_shared_words_need_the_standard_library_only() -> None:
    foreign = {
        (importer, library)
        for importer, path in modules()
        if importer.partition(".")[0] in {"client", *SHARED}
        for imported in imports(path)
        if (library := imported.partition(".")[0]) not in {*sys.stdlib_module_names, "jtunnel"}
    }
    assert foreign == {("paths", "platformdirs")}


def test_each_module_says_what_it_is() -> None:
    for _, path in modules():
        with open(path, encoding="utf-8") as file:
            words = ast.get_docstring(ast.parse(file.read()))
        assert words, f"{path} has no docstring"


def loaded_by(client: Client, *command: str) -> set[str]:
    """The top-level modules in a fresh interpreter at the end of a command."""
    seen = os.path.join(client.path, "modules")
    subprocess.run(
        [sys.executable, "-c", MODULES_OF, *command],
        env={**client.environ, "MODULES_FILE": seen},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=WAIT_S,
        start_new_session=True,
    )
    with open(seen) as file:
        return {name.partition(".")[0] for name in file.read().splitlines()}


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["status", "--json"],
        ["status", "--watch"],
        ["status", "--format", "waybar"],
        ["wait", "gpu"],
        ["up", "--help"],
        ["url", "gpu"],
        ["logs"],
        ["down"],
        ["shutdown"],
        ["--help"],
    ],
)
def test_daily_commands_load_little_without_a_daemon(client: Client, command: list[str]) -> None:
    assert not loaded_by(client, *command) & HEAVY


def watch(talk: Talk, params: dict[str, Any]) -> None:
    talk.reply({})
    talk.snapshot(document(tunnel()))


@pytest.mark.parametrize(
    "command", [["status"], ["status", "gpu"], ["up", "gpu"], ["url", "gpu"], ["logs", "gpu"]]
)
def test_daily_commands_load_little_with_one(client: Client, command: list[str]) -> None:
    answers = {"status": document(tunnel()), "up": {"names": ["gpu"]}, "watch": watch, "url": {"url": "x"}}
    with ScriptedDaemon(client.runtime_dir, answers):
        assert not loaded_by(client, *command) & HEAVY


@pytest.mark.parametrize("command", [["status"], ["__complete", "names"]])
def test_what_is_run_all_the_time_loads_less_still(client: Client, command: list[str]) -> None:
    with ScriptedDaemon(client.runtime_dir, {"status": document(tunnel(forwards=[forward()]))}):
        assert not loaded_by(client, *command) & (HEAVY | SLOW)
