"""Edits of the config's text: what is meant changes, and no other byte does."""

from __future__ import annotations

import json
import os
import tomllib
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from jtunnel.config.editing.edit import (
    add_forward,
    remove_forward,
    remove_profile,
    rename_profile,
    set_key,
)
from jtunnel.config.editing.layout import read_layout
from jtunnel.config.editing.removal import without

#: A file as people have them: every spelling, comments of all sorts, tables apart from each other.
FILE = """\
#:schema jtunnel.json
# My machines.

watch_config = true
profiles.dotted.host = "d"          # dotted
profiles.dotted.jupyter = {}

# What all have.
[defaults]
user = "me"

# The big one.
[profiles.gpu]
host = "gpu-box"     # an alias
# jump = "bastion"

# Ports of the big one.
forwards = [
  "6006",            # TensorBoard
  # Dask
  { listen = "8787", target = "localhost:8787", name = "dask" },
]

# Not for the big one.

# The small one.
[profiles.'small.one']
host="s"

[profiles.gpu.jupyter] # its Jupyter
local_port = "auto"
# directory = "~"

# The end.
"""
LINES = FILE.splitlines(keepends=True)


def lines_without(*numbers: int) -> str:
    """The file without these lines, counted from 1."""
    return "".join(line for number, line in enumerate(LINES, 1) if number not in numbers)


def test_a_new_key_comes_after_the_last_of_its_table() -> None:
    after = set_key(FILE, "gpu", "autostart", True)
    assert after == "".join([*LINES[:22], "autostart = true\n", *LINES[22:]])


def test_a_new_key_is_written_like_its_neighbours() -> None:
    assert 'host="s"\nautostart="on-demand"\n' in set_key(FILE, "small.one", "autostart", "on-demand")
    dotted = "profiles.dotted.jupyter = {}\nprofiles.dotted.autostart = true\n"
    assert dotted in set_key(FILE, "dotted", "autostart", True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("profiles.a = { host = 'h' }", "profiles.a = { host = 'h', autostart = true }"),
        ("profiles = { a = {host='h'} } # x", "profiles = { a = {host='h', autostart = true} } # x"),
        ("profiles = { a.host = 'h', b = {} }", "profiles = { a.host = 'h', a.autostart = true, b = {} }"),
        ("profiles.a = {}\n", "profiles.a = { autostart = true }\n"),
        ("[profiles.a]", "[profiles.a]\nautostart = true"),
        (
            "[profiles.a]\r\nhost = 'h'\r\n\r\n[x]\r\n",
            "[profiles.a]\r\nhost = 'h'\r\nautostart = true\r\n\r\n[x]\r\n",
        ),
        (
            "\t[ profiles . \"a\" ] # x\n\thost\t=\t'h'",
            "\t[ profiles . \"a\" ] # x\n\thost\t=\t'h'\n\tautostart = true",
        ),
        (
            "[profiles]\na.host = 'h' # x\nb.host = 'i'",
            "[profiles]\na.host = 'h' # x\na.autostart = true\nb.host = 'i'",
        ),
        ("[profiles.a]\nautostart  =  false  # why\n", "[profiles.a]\nautostart  =  true  # why\n"),
        (
            "[profiles.a]\nx = '''\n[profiles.a]\n'''\n[b]\n",
            "[profiles.a]\nx = '''\n[profiles.a]\n'''\nautostart = true\n[b]\n",
        ),
        (
            "[profiles.a.jupyter]\n[profiles.a]\n[c]",
            "[profiles.a.jupyter]\n[profiles.a]\nautostart = true\n[c]",
        ),
    ],
)
def test_a_key_in_every_spelling(before: str, after: str) -> None:
    assert set_key(before, "a", "autostart", True) == after


def test_a_key_goes_with_the_comment_above_it() -> None:
    before = "[profiles.a]\nhost = 'h'\n# By itself.\nautostart = true\n\n# More.\nuser = 'u'\n"
    assert (
        without(before, ("profiles", "a", "autostart")) == "[profiles.a]\nhost = 'h'\n\n# More.\nuser = 'u'\n"
    )


def test_a_profile_goes_with_its_tables_and_comments() -> None:
    assert remove_profile(FILE, "gpu") == lines_without(*range(12, 24), *range(30, 34))


def test_a_profile_goes_alone() -> None:
    assert remove_profile(FILE, "small.one") == lines_without(26, 27, 28, 29)
    assert remove_profile(FILE, "dotted") == lines_without(5, 6)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# mine\n[profiles.a]\nhost = 'h'\n", ""),
        ("[profiles.a]\n\n\n[profiles.b]\n\n", "[profiles.b]\n\n"),
        ("[profiles.b]\n\n\n[profiles.a]", "[profiles.b]\n"),
        (
            "[profiles.b]\r\n# a\r\n[profiles.a]\r\n# b2\r\n[profiles.b.x]\r\n",
            "[profiles.b]\r\n# b2\r\n[profiles.b.x]\r\n",
        ),
        ("profiles = { a = {x = [1, {y = 2}]}, b = {} } # x", "profiles = { b = {} } # x"),
        ("profiles = { b = {}, a.x = 1, a.y = 2 } # x", "profiles = { b = {} } # x"),
        ("profiles = { a = {} }", "profiles = {}"),
        ("[profiles]\n# all\na = {}\nb = {}\n", "[profiles]\n# all\nb = {}\n"),
        ("[profiles]\nb = {}\n# a\na = {}\n\n# c\nc = {}\n", "[profiles]\nb = {}\n\n# c\nc = {}\n"),
        ("[[profiles.a.forwards]]\nlisten = '1'\n[profiles.b]\n[profiles.a]\nhost = 'h'\n", "[profiles.b]\n"),
        ("#:schema x\n[profiles.a]\n[profiles.b]", "#:schema x\n[profiles.b]"),
    ],
)
def test_a_profile_goes_in_every_spelling(before: str, after: str) -> None:
    assert remove_profile(before, "a") == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "[profiles.a]\n[profiles.b]\n[profiles.a.jupyter]\n",
            "[profiles.new]\n[profiles.b]\n[profiles.new.jupyter]\n",
        ),
        ("[ profiles . 'a' ] # [profiles.a]", "[ profiles . 'new' ] # [profiles.a]"),
        (
            'profiles."a".host = "a"\nprofiles.a.user = "a"',
            'profiles."new".host = "a"\nprofiles.new.user = "a"',
        ),
        ("[profiles]\na.host = 'a'\nb.host = 'a'", "[profiles]\nnew.host = 'a'\nb.host = 'a'"),
        (
            "profiles = { b = { a = 1 }, a = {a = {a = 1}} }",
            "profiles = { b = { a = 1 }, new = {a = {a = 1}} }",
        ),
        (
            "[[profiles.a.forwards]]\n[[profiles.a.forwards]]\n[a]",
            "[[profiles.new.forwards]]\n[[profiles.new.forwards]]\n[a]",
        ),
        ("[profiles.a.a.a]\na.a = 1", "[profiles.new.a.a]\na.a = 1"),
    ],
)
def test_a_profile_is_renamed_in_every_spelling(before: str, after: str) -> None:
    assert rename_profile(before, "a", "new") == after
    assert rename_profile(after, "new", "a") == before


def test_a_name_with_a_dot_gets_quotes() -> None:
    assert rename_profile("[profiles.a]", "a", "a.b") == '[profiles."a.b"]'
    assert rename_profile("[profiles.'a']", "a", "a.b") == "[profiles.'a.b']"


TABLE = {"listen": "1", "target": "t:1"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[]", '["1"]'),
        ("[ ]", '["1"]'),
        ("[\n]", '[\n  "1",\n]'),
        ("[\n  # none\n]", '[\n  # none\n  "1",\n]'),
        ('["a"]', '["a", "1"]'),
        ('[ "a" ]', '[ "a", "1" ]'),
        ('["a",]', '["a", "1",]'),
        ('["a", {listen = "b"}] # x', '["a", {listen = "b"}, "1"] # x'),
        ('[\n\t"a", # ]\n\t"b" # "\n]', '[\n\t"a", # ]\n\t"b", # "\n\t"1"\n]'),
        ('[\r\n  "a",\r\n  # end\r\n]', '[\r\n  "a",\r\n  "1",\r\n  # end\r\n]'),
        ('[\n  "a", "b",\n]', '[\n  "a", "b", "1",\n]'),
        ('[\n  "a",\n  "b"]', '[\n  "a",\n  "b",\n  "1"]'),
        ('[ "a"\n, "b"\n]', '[ "a"\n, "b", "1"\n]'),
        ('[\n  "a"\n  # x\n  ,\n]', '[\n  "a"\n  # x\n  ,\n  "1",\n]'),
    ],
)
def test_a_forward_is_added_in_the_style_of_the_list(before: str, after: str) -> None:
    start = "[profiles.a]\nforwards = ".replace("\n", "\r\n" if "\r" in before else "\n")
    assert add_forward(start + before, "a", TABLE, "1") == start + after


def test_a_forward_is_added_where_there_is_no_list() -> None:
    assert add_forward("[profiles.a]\n", "a", TABLE, "1") == '[profiles.a]\nforwards = ["1"]\n'
    shown = 'forwards = [{ listen = "1", target = "t:1" }]'
    assert add_forward("profiles.a = {}", "a", TABLE) == f"profiles.a = {{ {shown} }}"
    assert add_forward("profiles.a = {forwards=[]}", "a", TABLE, "1") == 'profiles.a = {forwards=["1"]}'


def test_a_forward_is_added_as_a_section() -> None:
    before = "[profiles.a]\nhost = 'h'\n\n [[ profiles.a.forwards ]]\n listen = '5'\n\n[profiles.b]\n"
    added = '\n [[ profiles.a.forwards ]]\n listen = "1"\n target = "t:1"\n'
    at = before.index("\n[profiles.b]")
    assert add_forward(before, "a", TABLE, "1") == before[:at] + added + before[at:]


@pytest.mark.parametrize(
    ("before", "index", "after"),
    [
        ('["a"]', 0, "[]"),
        ('[ "a", "b" ]', 0, '[ "b" ]'),
        ('[ "a", "b" ]', 1, '[ "a" ]'),
        ('["a", {listen = "b"}, "c"]', 1, '["a", "c"]'),
        ('[\n  # a\n  "a", # a\n  # b\n  "b",\n]', 0, '[\n  # b\n  "b",\n]'),
        ('[\n  # a\n  "a", # a\n  # b\n  "b" # b\n]', 1, '[\n  # a\n  "a", # a\n]'),
        ('[\n  # both\n  "a",\n  "b",\n]', 0, '[\n  # both\n  "b",\n]'),
        ('[\n  "a", # a\n  "b", "c", # bc\n]', 1, '[\n  "a", # a\n  "c", # bc\n]'),
        ('[\n  "a", # a\n  "b", "c", # bc\n]', 2, '[\n  "a", # a\n  "b", # bc\n]'),
        ('[ "a" # a\n, "b" # b\n]', 0, '[  # a\n "b" # b\n]'),
        ('[ "a" # a\n, "b" # b\n]', 1, '[ "a" # a\n,  # b\n]'),
        ("[\n  '''\n# no comment\n''',\n  \"b\",\n]", 0, '[\n  "b",\n]'),
    ],
)
def test_a_forward_goes_with_its_comments(before: str, index: int, after: str) -> None:
    start = "[profiles.a]\nforwards = "
    assert remove_forward(start + before, "a", index) == start + after


def test_a_section_of_a_forward_goes() -> None:
    first, second = (
        "# one\n[[profiles.a.forwards]]\nlisten = '1'\n",
        "# two\n[[profiles.a.forwards]]\nlisten = '2'\n",
    )
    assert remove_forward(f"[profiles.a]\n\n{first}\n{second}", "a", 0) == f"[profiles.a]\n\n{second}"
    assert remove_forward(f"[profiles.a]\n\n{first}\n{second}", "a", 1) == f"[profiles.a]\n\n{first}"
    assert remove_forward(f"[profiles.a]\n\n{first}", "a", 0) == "[profiles.a]\n"


KEYS = st.sampled_from(["host", "user", "tags", "jupyter", "x.y"])
NAMES = ["gpu", "box", "a.b"]
COMMENT = st.sampled_from(["", "", " # [profiles.gpu]", "\t# \"'", " # ü"])
TEXT_VALUE = st.sampled_from(
    ['"x"', "'# no'", '"""a\n[profiles.gpu]\n"""', "'''\n# b\n'''", '"\\"]"', "1979-05-27 07:32:00"]
)
VALUE = st.recursive(
    TEXT_VALUE | st.sampled_from(["1", "true", "1.5e3", "[]", "{}"]),
    lambda inner: st.lists(inner, min_size=1, max_size=3).flatmap(
        lambda items: st.sampled_from(
            [f"[{', '.join(items)}]", "[\n" + ",  # c\n".join(items) + " # d\n]", f"[ {', '.join(items)}, ]"]
        )
    ),
    max_leaves=4,
)


def quoted(name: str) -> st.SearchStrategy[str]:
    """The ways to write a key."""
    forms = [json.dumps(name), f"'{name}'"]
    return st.sampled_from(forms if "." in name else [name, *forms])


@st.composite
def pairs(draw: st.DrawFn, prefix: str = "") -> list[str]:
    """Lines of some keys with values, each key once."""
    keys = draw(st.lists(st.sampled_from(["host", "user", "tags", "hold"]), unique=True, max_size=3))
    lines: list[str] = []
    for key in keys:
        lines += draw(st.lists(st.sampled_from(["", "# free", "  # [profiles.box]"]), max_size=2))
        lines.append(f"{draw(st.sampled_from(['', '  ']))}{prefix}{key} = {draw(VALUE)}{draw(COMMENT)}")
    return lines


@st.composite
def files(draw: st.DrawFn) -> str:
    """A config file with the profiles of NAMES in any spelling, jupyter tables anywhere, and any comments."""
    head: list[str] = []
    blocks: list[list[str]] = [["[defaults]", *draw(pairs())]]
    for name in NAMES:
        style = draw(st.sampled_from(["table", "dotted", "inline", "sections"]))
        if style == "dotted":
            key = f"profiles.{draw(quoted(name))}"
            head += [f'{key}.host = "h"', *draw(pairs(f"{key}.more."))]
        elif style == "inline":
            head.append(
                f"profiles.{draw(quoted(name))} = {{ host = 'h', more = {{ a.b = [1, 2] }} }}{draw(COMMENT)}"
            )
        else:
            blocks.append([f"[ profiles.{draw(quoted(name))} ]{draw(COMMENT)}", *draw(pairs())])
            blocks.append([f"[profiles.{draw(quoted(name))}.jupyter]", *draw(pairs())])
        if style == "sections":
            blocks += [
                [f"[[profiles.{draw(quoted(name))}.forwards]]", f"listen = '{port}'"] for port in range(2)
            ]
    lines = head
    for block in draw(st.permutations(blocks)):
        lines += draw(st.lists(st.sampled_from(["", "# block", ""]), max_size=3)) + block
    text = "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n# end"]))
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # a [[list]] of one profile that another table parts
        reject()
    return text


def kept(before: str, after: str) -> bool:
    """Whether all lines of `after` are lines of `before`, in their order."""
    lines = iter(before.split("\n"))
    return all(any(line == other for other in lines) for line in after.split("\n") if line.strip())


def profiles(text: str) -> dict[str, Any]:
    """The profiles as tomllib has them."""
    found: dict[str, Any] = tomllib.loads(text)["profiles"]
    return found


@settings(max_examples=50)
@given(files(), st.sampled_from(NAMES), st.sampled_from([True, False, "on-demand"]))
def test_any_file_takes_a_key_and_gives_it_back(text: str, name: str, value: bool | str) -> None:
    after = set_key(text, name, "autostart", value)
    assert profiles(after)[name] == {**profiles(text)[name], "autostart": value}
    # Something was put in, and nothing else happened.
    start = len(os.path.commonprefix([text, after]))  # noqa: RUF071  (characters are meant)
    assert after.endswith(text[start:])
    assert without(after, ("profiles", name, "autostart")).rstrip() == text.rstrip()


@settings(max_examples=50)
@given(files(), st.sampled_from(NAMES))
def test_any_file_loses_a_profile_and_nothing_else(text: str, name: str) -> None:
    after = remove_profile(text, name)
    assert name not in profiles(after)
    assert {**profiles(text), **profiles(after)} == profiles(text)
    assert len(profiles(after)) == len(NAMES) - 1
    assert kept(text, after)


@settings(max_examples=50)
@given(files(), st.sampled_from(NAMES))
def test_any_file_has_a_profile_renamed_and_named_back(text: str, name: str) -> None:
    after = rename_profile(text, name, "new-name")
    assert list(profiles(after)) == ["new-name" if key == name else key for key in profiles(text)]
    assert rename_profile(after, "new-name", name) == text


@settings(max_examples=50)
@given(files(), st.sampled_from(NAMES))
def test_any_file_takes_a_forward_and_gives_it_back(text: str, name: str) -> None:
    after = add_forward(text, name, TABLE, "1")
    count = len(profiles(after)[name]["forwards"])
    back = profiles(remove_forward(after, name, count - 1))
    assert back[name].pop("forwards", []) == profiles(text)[name].get("forwards", [])
    # A file that was edited twice is edited once more.
    assert profiles(remove_profile(after, name)).keys() == back.keys() - {name}


@given(st.text(alphabet="ab.\"'[]{}=#,\\ \n1", max_size=40))
def test_whatever_tomllib_takes_has_a_layout(text: str) -> None:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    for place in read_layout(text):
        found: Any = data
        for part in place.path:
            found = found[part]
        if not place.is_header:
            assert tomllib.loads(f"x = {text[place.value_start : place.end]}")["x"] == found
