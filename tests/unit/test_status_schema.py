"""docs/status.schema.json is a JSON Schema and says what status.py says."""

from __future__ import annotations

import json
import os
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import jsonschema
import pytest

from jtunnel import status
from tests.support.scripted_daemon import document, forward, service, tunnel

PATH = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "status.schema.json")
NAMES = {
    status.StatusDocument: None,
    status.DaemonStatus: "daemon",
    status.TunnelStatus: "tunnel",
    status.ForwardStatus: "forward",
    status.JupyterStatus: "jupyter",
    status.ServiceStatus: "service",
    status.Problem: "problem",
}
SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def schema() -> dict[str, Any]:
    with open(PATH, encoding="utf-8") as file:
        loaded: dict[str, Any] = json.load(file)
    return loaded


def validate(shown: Any) -> None:
    jsonschema.Draft202012Validator(schema()).validate(shown)


def of_type(hint: Any) -> frozenset[Any]:
    """What values a type of status.py allows: names of JSON types, values, and parts of the schema."""
    if is_typeddict(hint):
        return frozenset({("$ref", NAMES[hint])})
    if get_origin(hint) is Literal:
        return frozenset(("value", value) for value in get_args(hint))
    if get_origin(hint) is list:
        return frozenset({("list", of_type(get_args(hint)[0]))})
    if get_origin(hint) in (Union, types.UnionType):
        return frozenset().union(*map(of_type, get_args(hint)))
    return frozenset({SIMPLE[hint]})


def of_schema(node: dict[str, Any]) -> frozenset[Any]:
    """The same of a part of the schema."""
    if "$ref" in node:
        return frozenset({("$ref", node["$ref"].removeprefix("#/$defs/"))})
    if "anyOf" in node:
        return frozenset().union(*map(of_schema, node["anyOf"]))
    if "const" in node:
        return frozenset({("value", node["const"])})
    if "enum" in node:
        return frozenset("null" if value is None else ("value", value) for value in node["enum"])
    if node["type"] == "array":
        return frozenset({("list", of_schema(node["items"]))})
    return frozenset(node["type"] if isinstance(node["type"], list) else [node["type"]])


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("kind", NAMES)
def test_it_says_what_the_types_say(kind: type) -> None:
    name = NAMES[kind]
    node = schema() if name is None else schema()["$defs"][name]
    hints = get_type_hints(kind)
    assert list(node["properties"]) == node["required"] == list(hints)
    for member, hint in hints.items():
        if (kind, member) == (status.StatusDocument, "schema"):
            assert node["properties"][member]["const"] == status.SCHEMA
        else:
            assert of_schema(node["properties"][member]) == of_type(hint), member


def test_each_field_is_described() -> None:
    for node in (schema(), *schema()["$defs"].values()):
        assert node["description"]
        for name, member in node["properties"].items():
            assert "$ref" in member or member["description"].endswith((".", "empty.")), name


def test_what_tests_script_is_what_it_describes() -> None:
    problem: status.Problem = {"kind": "internal", "message": "m", "advice": ""}
    tunnels = [
        tunnel(forwards=[forward(problem=problem)]),
        tunnel("b", jupyter=None),
        tunnel("c", jupyter=None, service=service()),
    ]
    validate(document(*tunnels, config_problem=problem))


@pytest.mark.parametrize(
    ("place", "member", "value"),
    [
        ((), "schema", 2),
        ((), "daemon", None),
        (("tunnels", 0), "state", "happy"),
        (("tunnels", 0), "since", None),
        (("tunnels", 0), "autostart", "sometimes"),
        (("tunnels", 0, "forwards", 0), "kind", "sideways"),
        (("tunnels", 0, "jupyter"), "url", 7),
    ],
)
def test_what_it_does_not_describe(place: tuple[Any, ...], member: str, value: Any) -> None:
    spoilt: Any = document(tunnel(forwards=[forward()]))
    part = spoilt
    for step in place:
        part = part[step]
    part[member] = value
    with pytest.raises(jsonschema.ValidationError):
        validate(spoilt)
    del part[member]
    with pytest.raises(jsonschema.ValidationError):
        validate(spoilt)
