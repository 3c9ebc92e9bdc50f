"""Completion in real shells: bash, zsh and fish in a terminal, beside a daemon and without one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from jtunnel.client.complete import PATIENCE_S
from jtunnel.client.table import COMMANDS
from tests.support.programs import find_program
from tests.support.screen import Screen
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, forward, tunnel
from tests.support.thin_client import WAIT_S, Client

SHELLS = ("bash", "zsh", "fish")
CONFIG = """
[defaults]
tags = ["all"]
[profiles.gpu]
host = "gpu-box"
tags = ["work"]
[profiles.services]
host = "services.example"
"""
#: What is typed → what may follow there, beside the daemon below.
OFFERS: Mapping[str, set[str]] = {
    "jtunnel st": {"status", "stop"},
    "jtunnel --": {"--help", "--version"},
    "jtunnel nonsense ": set(),
    "jtunnel up ": {"gpu", "gpu-2", "box"},
    "jtunnel up g": {"gpu", "gpu-2"},
    "jtunnel up gpu box ": {"gpu-2"},
    "jtunnel up --tag ": {"work", "big"},
    "jtunnel up --tag work --tag ": {"big"},
    "jtunnel up --tag work g": {"gpu", "gpu-2"},
    "jtunnel up --timeout ": set(),
    "jtunnel up --timeout 5 b": {"box"},
    "jtunnel up here": set(),
    "jtunnel url b": {"box"},
    "jtunnel rename ": {"gpu", "gpu-2", "box"},
    "jtunnel rename gpu ": set(),
    "jtunnel forward --name x g": {"gpu", "gpu-2"},
    "jtunnel forward --name=x g": {"gpu", "gpu-2"},
    "jtunnel forward gpu ": {"6006", "db"},
    "jtunnel forward gpu --name x d": {"db"},
    "jtunnel forward gpu 8787:lo": set(),
    "jtunnel wait --for ": {"up", "down"},
    "jtunnel status --format t": {"tmux"},
    "jtunnel config ": {"check", "path", "schema"},
    "jtunnel service ": {"install", "uninstall", "status", "restart"},
    "jtunnel completion ": set(SHELLS),
    "jtunnel help re": {"reload", "rename", "restart"},
    "jtunnel __complete ": set(),
}


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        client.environ["PATH"] = f"{os.path.join(sys.prefix, 'bin')}:{client.environ['PATH']}"
        client.environ |= {"TERM": "xterm", "XDG_CONFIG_HOME": os.path.join(client.path, ".config")}
        client.environ["JTUNNEL_CONFIG"] = client.config_file
        with open(os.path.join(client.path, "here-is-a-file"), "w"):
            pass
        yield client


@pytest.fixture
def daemon(client: Client) -> Iterator[ScriptedDaemon]:
    tunnels = (
        tunnel(
            "gpu",
            tags=["work"],
            forwards=[
                forward("jupyter"),
                forward("6006"),
                forward("db", listen="127.0.0.1:5432", target="db:5432"),
            ],
        ),
        tunnel("gpu-2", "retrying", tags=["work", "big"]),
        tunnel("box", "down"),
    )
    with ScriptedDaemon(client.runtime_dir, {"status": document(*tunnels)}) as daemon:
        yield daemon


def write(client: Client, path: str, content: str) -> None:
    path = os.path.join(client.path, path)  # that of a whole path is itself
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="latin-1" if content == "\xff" else "utf-8") as file:
        file.write(content)


def script(client: Client, shell: str) -> str:
    done = client.run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def in_shell(client: Client, shell: str, before: str = "", after: str = "", columns: int = 80) -> Screen:
    """The shell in a terminal, in the client's home, with completion as the help texts install it."""
    program = find_program(shell)
    if shell == "bash":
        write(client, ".bashrc", f"PS1='$ '\ncd ~\n{before}\neval \"$(jtunnel completion bash)\"\n{after}\n")
        command = [program, "--noprofile", "--rcfile", os.path.join(client.path, ".bashrc"), "-i"]
    elif shell == "zsh":
        start = "autoload -Uz compinit && compinit -u -D\n"
        tail = f"{start}eval \"$(jtunnel completion zsh)\"\n{after}\nPS1='$ '\ncd ~\n"
        write(client, ".zshrc", f"{before}\n{tail}")
        command = [program, "-d", "-i"]
    else:
        write(client, ".config/fish/completions/jtunnel.fish", script(client, "fish"))
        # Else fish makes completions from all man pages, in the background.
        os.makedirs(os.path.join(client.path, ".local/share/fish/generated_completions"))
        prompt = "function fish_prompt; echo '$ '; end\n"
        write(client, ".config/fish/config.fish", f"set -g fish_greeting\n{prompt}cd ~\n")
        command = [program, "-i"]
    screen = Screen(command, client.environ, columns=columns)
    screen.wait_for("$ ")
    return screen


def offered_by_bash(screen: Screen, line: str) -> set[str]:
    """What bash has for the end of `line`: Alt-* inserts it all."""
    began = len(screen.shown)
    screen.type(f"{line}\x1b*#")
    screen.wait_for("#", after=began)
    *_, last = (row for row in screen.picture().splitlines() if "▁" in row)
    typed, _, rest = line.rpartition(" ")
    words = set(last.removeprefix(f"$ {typed}").rstrip("▁").rstrip("#").split())
    began = len(screen.shown)
    screen.type("\x15\x0c")
    screen.wait_for("$ ", after=began)
    return words - {rest}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_are_in_order(client: Client, shell: str) -> None:
    done = subprocess.run(
        [find_program(shell), "-n"],
        input=script(client, shell),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_offers_what_fits(client: Client, daemon: ScriptedDaemon) -> None:
    with in_shell(client, "bash", after="set -o posix -o nounset; shopt -s failglob") as screen:
        for line, words in OFFERS.items():
            assert offered_by_bash(screen, line) == words, line
        assert screen.shown.count("bash:") == 0


def test_bash_offers_all_options(client: Client, daemon: ScriptedDaemon) -> None:
    with in_shell(client, "bash", columns=240) as screen:
        for command in COMMANDS:
            assert offered_by_bash(screen, f"jtunnel {command} --") == long_options(command), command
        assert offered_by_bash(screen, "jtunnel up --all --") == long_options("up") - {"--all"}
        assert "--tag" in offered_by_bash(screen, "jtunnel up --tag work --")
        assert not offered_by_bash(screen, "jtunnel up -- --")
        assert offered_by_bash(screen, "jtunnel demo ") == long_options("demo")


@pytest.mark.parametrize("breaks", ["", "COMP_WORDBREAKS=${COMP_WORDBREAKS//[:=]}"])
def test_bash_completes_inside_a_word(client: Client, daemon: ScriptedDaemon, breaks: str) -> None:
    with in_shell(client, "bash", after=breaks) as screen:
        for typed, shown in (
            ("jtunnel up --tag=w\t", "jtunnel up --tag=work #"),
            ("jtunnel wait gpu --for=d\tb\t", "jtunnel wait gpu --for=down box #"),
            ("jtunnel up 'bo\t", "jtunnel up 'box' #"),
            ("jtunnel up g*\t", "jtunnel up g*#"),
            ("jtunnel forward gpu 8787:localhost:6\t", "jtunnel forward gpu 8787:localhost:6#"),
            ("A=1 jtunnel sta\tb\t", "A=1 jtunnel status box #"),
        ):
            began = len(screen.shown)
            screen.type(f"{typed}#")
            screen.wait_for("#", after=began)
            assert f"$ {shown}▁" in screen.picture(), typed
            screen.type("\x15")


def test_fish_offers_what_fits(client: Client, daemon: ScriptedDaemon) -> None:
    lines = [*OFFERS, *(f"jtunnel {command} --" for command in COMMANDS), "jtunnel up --tag=w"]
    wanted = [*OFFERS.values(), *(long_options(command) for command in COMMANDS), {"--tag=work"}]
    write(client, ".config/fish/completions/jtunnel.fish", script(client, "fish"))
    done = subprocess.run(
        [find_program("fish"), "-c", "for line in $argv; complete -C $line; echo .; end", *lines],
        env=client.environ,
        stdin=subprocess.DEVNULL,
        cwd=client.path,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert done.stderr == ""
    answers = done.stdout.split(".\n")[:-1]
    for line, words, answer in zip(lines, wanted, answers, strict=True):
        assert {row.partition("\t")[0] for row in answer.splitlines()} == words, line


@pytest.mark.parametrize(
    ("shell", "what", "keys"),
    [
        ("bash", "names", "jtunnel up \t\t"),
        ("bash", "commands", "jtunnel \t\t"),
        ("zsh", "names", "jtunnel up \t"),
        ("zsh", "names-left", "jtunnel up --all gpu \t"),
        ("zsh", "commands", "jtunnel re\t"),
        ("zsh", "options", "jtunnel up -\t"),
        ("zsh", "tags", "jtunnel up --tag \t"),
        ("zsh", "forwards", "jtunnel forward gpu --name x \t"),
        ("zsh", "choices", "jtunnel status --format=\t"),
        ("zsh", "no-files", "jtunnel up here\tgp\t"),
        ("fish", "names", "jtunnel up \t"),
        ("fish", "commands", "jtunnel re\t"),
        ("fish", "options", "jtunnel up --\t"),
        ("fish", "forwards", "jtunnel forward gpu \t"),
    ],
)
def test_pictures(client: Client, daemon: ScriptedDaemon, shell: str, what: str, keys: str) -> None:
    with in_shell(client, shell) as screen:
        screen.type(keys)
        screen.wait_for_picture(f"completion-{shell}-{what}")


def test_zsh_with_other_options(client: Client, daemon: ScriptedDaemon) -> None:
    others = "setopt ksh_arrays sh_word_split no_unset null_glob ignore_braces glob_subst"
    with in_shell(client, "zsh", after=others) as screen:
        screen.type("jtunnel up --all gpu \t")
        screen.wait_for_picture("completion-zsh-names-left")


def test_zsh_loads_it_from_a_file(client: Client, daemon: ScriptedDaemon) -> None:
    write(client, ".zfunc/_jtunnel", script(client, "zsh"))
    with in_shell(
        client, "zsh", before="jtunnel() { command jtunnel $@ }; fpath=(~/.zfunc $fpath)"
    ) as screen:
        screen.type("jtunnel up \t")
        screen.wait_for_picture("completion-zsh-names")


def test_zsh_without_compinit_says_what_is_missing(client: Client) -> None:
    done = subprocess.run(
        [find_program("zsh"), "-f", "-c", 'eval "$(jtunnel completion zsh)"'],
        env=client.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith("autoload -Uz compinit && compinit\n")


def long_options(command: str) -> set[str]:
    return {"--help", *(flags[-1] for flags, _ in COMMANDS[command][2] if flags[0].startswith("-"))}


def asked(client: Client, *words: str) -> str:
    """What a script gets; it comes without a complaint, whatever happens."""
    done = client.run("__complete", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_words_with_a_daemon(client: Client, daemon: ScriptedDaemon) -> None:
    assert asked(client, "names") == "gpu\tup, gpu-box\ngpu-2\tretrying, gpu-2-box\nbox\tdown, box-box\n"
    assert asked(client, "tags") == "work\tgpu, gpu-2\nbig\tgpu-2\n"
    assert asked(client, "forwards", "gpu") == (
        "6006\tlocal 127.0.0.1:6006 → localhost:6006\ndb\tlocal 127.0.0.1:5432 → db:5432\n"
    )
    assert asked(client, "forwards", "nobody") == asked(client, "forwards") == ""


def test_words_without_a_daemon(client: Client) -> None:
    write(client, client.config_file, CONFIG)
    assert asked(client, "names") == "gpu\tgpu-box\nservices\tservices.example\n"
    assert asked(client, "tags") == "work\tgpu\nall\tservices\n"
    assert asked(client, "forwards", "gpu") == ""
    assert os.listdir(client.runtime_dir) == []


@pytest.mark.parametrize(
    "content",
    [
        None,
        "profiles = 3",
        "profiles.gpu = 3",
        "[profiles",
        "[profiles.gpu]\ntags = 3\n[profiles.'a b']\ntags = ['$(x)']",
        "[" * 5000,
        "\xff",
    ],
)
def test_a_wrong_config_offers_little(client: Client, content: str | None) -> None:
    if content is not None:
        write(client, client.config_file, content)
    assert asked(client, "names") in ("", "gpu\t\n")
    assert asked(client, "tags") == ""


def never(talk: Talk, params: dict[str, Any]) -> None:
    talk.read_message()


def test_a_daemon_that_does_not_answer_is_not_waited_for(client: Client) -> None:
    write(client, client.config_file, CONFIG)
    with ScriptedDaemon(client.runtime_dir, {"status": never}):
        began = time.monotonic()
        assert asked(client, "tags") == "work\tgpu\nall\tservices\n"
        assert PATIENCE_S <= time.monotonic() - began < PATIENCE_S + 2


def test_a_daemon_of_another_version_is_no_trouble(client: Client) -> None:
    write(client, client.config_file, CONFIG)
    with ScriptedDaemon(client.runtime_dir, {"status": document()}, protocol=99):
        assert asked(client, "names").startswith("gpu\tgpu-box\n")
