"""`jtunnel status --format`: each bar's own language, whatever tunnels and messages are, and no daemon."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from jtunnel.client.views import bars
from jtunnel.client.views.tally import FIELDS, Tally
from jtunnel.errors import ConfigError
from jtunnel.status import Problem, StatusDocument
from tests.support.pseudo_terminal import WAIT_S
from tests.support.scripted_daemon import ScriptedDaemon, Talk, document, forward, jupyter, tunnel
from tests.support.thin_client import Client
from tests.support.tmux import Tmux

PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "status-bars.md")
#: Everything that some bar interprets, in a message from afar.
NASTY: Problem = {
    "kind": "auth-failed",
    "message": '<b>&amp; | color=red %{F#f00} #[fg=red] #(touch x) #{pid} %H :smile: \x1b[31m "quoted"',
    "advice": "--- check\nthe key",
}


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def mixed() -> StatusDocument:
    """One tunnel of each sort."""
    return document(
        tunnel(forwards=[forward("jupyter", held=2)]),
        tunnel("db", "retrying", jupyter=None, problem=NASTY),
        tunnel("x", "blocked", problem=NASTY),
        tunnel("lazy", "down", jupyter=jupyter(url=None), forwards=[forward("8890")]),
    )


CASES: Mapping[str, StatusDocument | None] = {
    "up": document(tunnel()),
    "connecting": document(tunnel(), tunnel("b", "starting")),
    "retrying": document(tunnel(), tunnel("b", "retrying", problem=NASTY)),
    "blocked": mixed(),
    "idle": document(tunnel(state="down")),
    "off": None,
}


def line(client: Client, form: str, shown: StatusDocument | None) -> str:
    """What `status --format` prints, with a daemon that shows this or without one."""
    if shown is None:
        done = client.run("status", "--format", form)
    else:
        with ScriptedDaemon(client.runtime_dir, {"status": shown}):
            done = client.run("status", "--format", form)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def tally(shown: StatusDocument | None) -> Tally:
    return Tally(shown, "" if shown else "no daemon runs; start it with: jtunnel up")


@pytest.mark.parametrize("case", CASES)
def test_waybar_gets_an_object_of_markup(client: Client, case: str) -> None:
    text = line(client, "waybar", CASES[case])
    assert text.count("\n") == 1
    shown = json.loads(text)
    assert {key: type(value) for key, value in shown.items()} == {
        "text": str,
        "alt": str,
        "tooltip": str,
        "class": str,
        "percentage": int,
    }
    assert shown["class"] == shown["alt"] == case
    # Pango's markup has XML's rules: what is no markup here is text there.
    for key in ("text", "tooltip"):
        assert list(ET.fromstring(f"<markup>{shown[key]}</markup>")) == []


def test_waybar_says_it_all_in_the_tooltip() -> None:
    shown = json.loads(bars.waybar(tally(mixed())))
    assert (shown["text"], shown["percentage"]) == ("1/3", 33)
    lines = shown["tooltip"].split("\n")
    assert [text.partition(":")[0] for text in lines] == ["gpu", "db", "x", "lazy"]
    assert lines[0] == "gpu: up http://localhost:8888/lab"
    assert lines[2].startswith("x: blocked: &lt;b&gt;&amp;amp; | color=red")
    assert lines[3] == "lazy: on demand 127.0.0.1:8890"
    off = json.loads(bars.waybar(tally(None)))
    assert (off["text"], off["tooltip"]) == ("off", "no daemon runs; start it with: jtunnel up")


def test_polybar_gets_colours_that_end() -> None:
    assert bars.polybar(tally(mixed())) == (
        "%{F#ff5f5f}1/3%{F-} %{F#ff5f5f}x blocked%{F-} %{F#d7af00}db retrying%{F-}"
    )
    assert bars.polybar(tally(document(tunnel()))) == "%{F#5faf5f}1/1%{F-}"
    assert bars.polybar(tally(None)) == "%{F#808080}off%{F-}"
    # A name cannot have one; the bar has no way to write it as text.
    assert bars.polybar(tally(document(tunnel("a%{R}", "blocked")))).count("%{") == 4


def xbar_items(text: str) -> tuple[list[str], list[tuple[int, str, dict[str, str]]]]:
    """What xbar reads: the lines of the bar, and of the menu each one's depth, text and parameters."""
    head, _, menu = text.partition("\n---\n")
    items = []
    for each in menu.splitlines():
        if each == "---":
            continue
        title, _, rest = each.partition("|")
        given = dict(word.split("=", 1) for word in shlex.split(rest))
        depth = (len(title) - len(title.lstrip("-"))) // 2
        items.append((depth, title.lstrip("-").strip(), given))
    return head.splitlines(), items


@pytest.mark.parametrize("case", CASES)
def test_xbar_gets_a_menu(client: Client, case: str) -> None:
    head, items = xbar_items(line(client, "xbar", CASES[case]))
    assert len(head) == 1
    known = {"color", "bash", "terminal", "refresh", "emojize", "ansi", "param1", "param2", "param3"}
    for _, title, given in items:
        # xbar shows an error in place of the menu where it does not know a parameter.
        assert given.keys() <= known, given
        assert title
        assert given["emojize"] == given["ansi"] == "false"
        if "bash" in given:
            assert os.access(given["bash"], os.X_OK)


def test_xbars_entries_are_commands() -> None:
    head, items = xbar_items(bars.xbar(tally(mixed())))
    assert head[0].startswith("⇄ 1/3 | color=#ff5f5f ")
    calls = [
        (title, [given[key] for key in sorted(given) if key.startswith("param")])
        for _, title, given in items
        if "bash" in given
    ]
    assert calls == [
        ("Open in the browser", ["open", "gpu"]),
        ("Take down", ["down", "gpu"]),
        ("Take down", ["down", "db"]),
        ("Open in the browser", ["open", "x"]),
        ("Take down", ["down", "x"]),
        ("Open in the browser", ["open", "lazy"]),
        ("Bring up", ["up", "lazy", "--no-wait"]),
        ("Bring all up", ["up", "--all", "--no-wait"]),
    ]
    assert [depth for depth, title, _ in items if title.startswith("<b>")] == [1, 1]


def test_starship_is_silent_while_all_is_well(client: Client) -> None:
    assert [line(client, "starship", CASES[case]) for case in ("up", "idle", "off")] == ["\n"] * 3
    assert line(client, "starship", mixed()) == "x blocked, db retrying\n"
    many = document(*(tunnel(f"t{number}", "retrying") for number in range(5)))
    assert line(client, "starship", many) == "t0 retrying, t1 retrying +3\n"


def test_a_template_of_ones_own(client: Client) -> None:
    assert line(client, "{up}/{wanted} of {total}", mixed()) == "1/3 of 4\n"
    assert line(client, "{state:>8}|{troubled}|{held}|{on_demand}", mixed()) == (
        " blocked|x blocked, db retrying|2|1\n"
    )
    assert line(client, "{{{down} {connecting} {retrying} {blocked}}}", mixed()) == "{1 0 1 1}\n"
    assert line(client, "{state} {problem}", None) == "off no daemon runs; start it with: jtunnel up\n"
    assert "\x1b" not in line(client, "{problem}", mixed())


@pytest.mark.parametrize("form", ["wabar", "", "{ups}", "{up", "{0}", "{}", "{up.x}", "{up:zz}", "{up[0]}"])
def test_a_format_that_is_none(client: Client, form: str) -> None:
    done = client.run("status", "--format", form)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"jtunnel: no such format: {form}; it is one of waybar, polybar, tmux")
    assert "{wanted}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_format_and_json_are_one_too_many(client: Client) -> None:
    assert client.run("status", "--format", "tmux", "--json").returncode == 2


def test_what_the_daemon_refuses_is_shown_and_no_error(client: Client) -> None:
    error = ConfigError("unknown-profile", "no profile 'gpo' in c.toml", "did you mean gpu?")
    with ScriptedDaemon(client.runtime_dir, {"status": error}) as daemon:
        done = client.run("status", "gpo", "--tag", "work", "--format", "{state}: {problem}")
        assert daemon.calls == [("status", {"names": ["gpo"], "tags": ["work"]})]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "off: no profile 'gpo' in c.toml; did you mean gpu?\n"


@pytest.mark.long
def test_a_daemon_that_hangs_is_not_waited_for(client: Client) -> None:
    def mute(talk: Talk, params: dict[str, Any]) -> None:
        """Never answers."""

    with ScriptedDaemon(client.runtime_dir, {"status": mute}):
        started_at = time.monotonic()
        done = client.run("status", "--format", "{state}")
        assert time.monotonic() - started_at < bars.ANSWER_S + 3
    assert (done.returncode, done.stdout) == (0, "off\n")


@pytest.mark.parametrize(("form", "end"), [("{up}/{wanted} {state}", ""), ("xbar", "~~~")])
def test_watched_it_is_a_line_for_each_change(client: Client, form: str, end: str) -> None:
    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        for state in ("connecting", "connecting", "up"):
            talk.snapshot(document(tunnel(state=state)))

    with ScriptedDaemon(client.runtime_dir, {"watch": watch}) as daemon:
        process = client.start("status", "--watch", "--format", form)
        assert process.stdout is not None
        if end:
            assert process.stdout.readline() == "~~~\n"
            assert process.stdout.readline().startswith("⇄ 0/1")
        else:
            assert process.stdout.readline() == "0/1 connecting\n"
            assert process.stdout.readline() == "1/1 up\n"
            daemon.close()
            assert process.stdout.readline() == "0/0 off\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) == 0
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.long
def test_it_ends_with_the_bar_that_reads_it(client: Client) -> None:
    def watch(talk: Talk, params: dict[str, Any]) -> None:
        talk.reply({})
        talk.snapshot(document(tunnel()))

    with ScriptedDaemon(client.runtime_dir, {"watch": watch}):
        process = client.start("status", "--watch", "--format", "{state}")
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        # It has nothing more to write, so that it would not hear of it by itself.
        process.stdout.close()
        assert process.wait(WAIT_S) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def documented(bar: str) -> str:
    """The line of config that the page has for a bar."""
    with open(PAGE, encoding="utf-8") as file:
        section = file.read().partition(f"\n## {bar}\n")[2].partition("\n## ")[0]
    found = re.search(r"```\w*\n(.*?)```", section, flags=re.DOTALL)
    assert found, bar
    return found[1].strip()


def test_tmux_shows_it_in_its_colours(client: Client) -> None:
    # Names have nothing in them that tmux reads; this one shows that it would not matter.
    shown = document(tunnel(), tunnel("a#[fg=blue]b%H#(c)", "blocked", problem=NASTY))
    bin_ = os.path.join(client.path, "bin")
    os.mkdir(bin_)
    with open(os.path.join(bin_, "jtunnel"), "w") as file:
        file.write(f'#!/bin/sh\nexec {shlex.join(client.command())} "$@"\n')
        os.chmod(file.fileno(), 0o700)
    client.environ["PATH"] = f"{bin_}:{client.environ['PATH']}"
    with (
        ScriptedDaemon(client.runtime_dir, {"status": shown}),
        Tmux(client.environ, "sleep 60") as inner,
    ):
        for config in (documented("tmux"), "set -g status-right-length 80", "set -g status-interval 1"):
            inner.run(*shlex.split(config))
        # Its status line is no part of what it captures: another one around it sees it all.
        with Tmux(client.environ, inner.attach) as outer:
            text = outer.wait_for("blocked")[-1]
    plain = re.sub(r"\x1b\[[\d;:]*m", "", text)
    assert plain.rstrip().endswith("1/2 a#[fg=blue]b%H#(c) blocked")
    # 203 is #ff5f5f among the 256 colours.
    assert re.search(r"\x1b\[[\d;:]*(255;95;95|5;203)[\d;:]*m1/2", text)


def test_the_page_has_a_line_for_each_bar() -> None:
    for bar in bars.BARS:
        config = documented(bar)
        assert f"jtunnel status --format {bar}" in config or f"--format {bar}" in config
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    for field in FIELDS:
        assert f"`{{{field}}}`" in page, field
    for word in CASES:
        assert f"`{word}`" in page, word


def test_documented_config_is_well_formed() -> None:
    import tomllib

    assert json.loads(f"{{{documented('waybar')}}}")["custom/jtunnel"]["return-type"] == "json"
    custom = tomllib.loads(documented("starship"))["custom"]["jtunnel"]
    assert custom["command"] == "jtunnel status --format starship"
    polybar = dict(
        each.split(" = ", 1) for each in documented("polybar").splitlines() if not each.startswith("[")
    )
    assert (polybar["type"], polybar["tail"]) == ("custom/script", "true")
