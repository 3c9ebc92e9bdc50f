"""docs/protocol.md says what the code does: versions, limits, methods, parameters, errors, examples."""

from __future__ import annotations

import json
import os
import re

import pytest

from jtunnel import errors, wire
from jtunnel.status import DaemonStatus, StatusDocument

PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "protocol.md")


def page() -> str:
    with open(PAGE, encoding="utf-8") as file:
        return file.read()


def section(title: str) -> str:
    return page().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def methods(title: str) -> dict[str, str]:
    """Method → what the page says about it."""
    _, *parts = re.split(r"^### `(\w+)`$", section(title), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def parameters(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("title", "known"),
    [("What a client may ask", wire.METHODS), ("What the daemon may send", wire.CLIENT_METHODS)],
)
def test_methods_and_their_parameters(title: str, known: dict[str, tuple[str, ...]]) -> None:
    described = methods(title)
    assert list(described) == list(known)
    assert {name: parameters(text) for name, text in described.items()} == known
    for name, text in described.items():
        assert ("No parameters." in text) == (not known[name]), name


def test_numbers() -> None:
    assert f"now **{wire.PROTOCOL_VERSION}**" in section("Versions")
    assert f"at most {wire.MAX_LINE}\nbytes" in section("Messages")
    codes = {int(code) for code in re.findall(r"^\| (-\d+) \|", section("Errors"), flags=re.MULTILINE)}
    assert codes == {
        wire.PARSE_ERROR,
        wire.INVALID_REQUEST,
        wire.METHOD_NOT_FOUND,
        wire.INVALID_PARAMS,
        wire.INTERNAL_ERROR,
        wire.PROBLEM,
    }


def test_kinds_of_errors_exist() -> None:
    for text in methods("What a client may ask").values():
        for line in re.findall(r"Errors:([^.]*)\.", text):
            for kind in re.findall(r"`([\w-]+)`", line):
                assert kind in errors.KINDS


def test_examples_are_messages_that_fit() -> None:
    described = methods("What a client may ask") | methods("What the daemon may send")
    for name, text in described.items():
        (block,) = re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)
        call, *answer = [wire.decode(line.encode()) for line in block.splitlines()]
        assert call["method"] == name
        assert set(call["params"]) <= {*parameters(text)}
        for message in answer:
            assert message["id"] == call["id"]
            # Every member of a result is spoken of in the text.
            for member in message["result"]:
                assert f"`{member}`" in text or name == "status", f"{name}: {member}"


def test_examples_of_documents_have_todays_members() -> None:
    for text in (methods("What a client may ask")["status"], methods("What the daemon may send")["snapshot"]):
        line = re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)[0].splitlines()[-1]
        message = json.loads(line)
        shown = message["result"] if "result" in message else message["params"]["document"]
        assert shown.keys() == StatusDocument.__annotations__.keys()
        assert shown["daemon"].keys() == DaemonStatus.__annotations__.keys()


def test_example_of_a_problem() -> None:
    (line,) = re.findall(r"```json\n(.*?)```", section("Errors"), flags=re.DOTALL)
    error = wire.decode(line.encode())["error"]
    assert error["code"] == wire.PROBLEM
    assert errors.problem_error(error["data"]).problem == error["data"]
    assert error["message"] == error["data"]["message"]
