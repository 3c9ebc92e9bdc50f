"""State records and runtime files."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.service.record import (
    Record,
    node_names,
    parse_record,
    parse_runtime_file,
    record_tail,
    record_text,
)
from jtunnel.service.server import Server

SERVER = Server(
    target=UnixAddress("/tmp/jtunnel-1000/x.sock"),
    base_url="/",
    token="",
    pid=7,
    started="100@boot",
    host="gpu01",
    version="2.21.1",
    root_dir="/home/мой/a b",
    origin="started",
    log="/home/me/x.log",
    names=("gpu01.cluster", "fe80::1%eth0", "10.0.0.7"),
)


def test_a_record_is_read_as_written() -> None:
    for server in (SERVER, replace(SERVER, target=TcpAddress("127.0.0.1", 9999), version=None, log=None)):
        record = Record(server, "jupyter lab", ready=True)
        assert parse_record(record_text(record).encode()) == record


def test_a_record_has_one_member_a_line_and_no_token() -> None:
    text = record_text(Record(replace(SERVER, token="geheim"), "jupyter lab", ready=False))
    assert "geheim" not in text
    assert all(line.count('": ') == 1 for line in text.splitlines()[1:-1])


def test_a_script_completes_a_record() -> None:
    record = Record(SERVER, 'jupyter lab --x="y"', ready=False)
    text = '{\n "pid": 7,\n "started": "100@boot",\n' + record_tail(record)
    assert parse_record(text.encode()) == record


def test_a_record_of_an_older_version_is_read() -> None:
    members = json.loads(record_text(Record(SERVER, "jupyter lab", ready=True)))
    del members["names"]
    assert parse_record(json.dumps(members).encode()) == Record(
        replace(SERVER, names=()), "jupyter lab", ready=True
    )


@pytest.mark.parametrize(
    "name", ["-oProxyCommand=x", "a/b", "a;b", "\x1bc", "", "localhost.localdomain", "::1"]
)
def test_what_cannot_lead_to_a_node_is_none_of_its_names(name: str) -> None:
    assert node_names([name, "127.0.0.1", "localhost", "gpu01.cluster"]) == ("gpu01.cluster",)
    members = json.loads(record_text(Record(SERVER, "jupyter lab", ready=True)))
    record = parse_record(json.dumps({**members, "names": f"{name} gpu01"}).encode())
    assert record is not None
    assert record.server.names == ("gpu01",)


@pytest.mark.parametrize(
    "data", [None, b"", b"{", b"[]", b"\xff", b'{"pid": 1}', b'{"sock": null, "port": "x"}']
)
def test_a_broken_record_is_none(data: bytes | None) -> None:
    assert parse_record(data) is None


def test_a_runtime_file_of_jupyter_server() -> None:
    members = {"base_url": "/x/", "port": 8889, "sock": "", "token": "t", "password": False, "secure": True}
    data = json.dumps({**members, "root_dir": "/home/me", "version": "2.21.1"}).encode()
    found = parse_runtime_file(7, "100@boot", "jp", data)
    assert found is not None
    assert (found.port, found.base_url, found.root_dir, found.version) == (8889, "/x/", "/home/me", "2.21.1")
    assert found.secure
    assert not found.classic


def test_a_runtime_file_of_classic_notebook() -> None:
    data = json.dumps({"base_url": "/", "port": 8889, "token": "", "notebook_dir": "/home/me"}).encode()
    found = parse_runtime_file(7, "100@boot", "nb", data)
    assert found is not None
    assert found.classic
    assert (found.root_dir, found.version, found.sock) == ("/home/me", None, "")


@pytest.mark.parametrize("data", [b"", b'{"base_url": "/", "po', b"null", b'{"base_url": "/"}', b"\x00\xff"])
def test_a_half_written_runtime_file_is_none(data: bytes) -> None:
    assert parse_runtime_file(7, "100@boot", "jp", data) is None


HOSTILE = "a\x1b]0;b\x07\n\x9b2J"


def test_what_is_shown_of_a_file_is_printable() -> None:
    written = replace(SERVER, host=HOSTILE, version=HOSTILE, root_dir=HOSTILE, log=HOSTILE)
    record = parse_record(record_text(Record(written, "jupyter lab", ready=True)).encode())
    assert record is not None
    read = record.server
    assert {read.host, read.version, read.root_dir, read.log} == {"a ]0;b 2J"}
    data = json.dumps({"base_url": "/", "port": 1, "version": HOSTILE}).encode()
    found = parse_runtime_file(7, "100@boot", "jp", data)
    assert found is not None
    assert found.version == "a ]0;b 2J"


@pytest.mark.parametrize(
    "changed",
    [
        {"sock": f"/{HOSTILE}"},
        {"sock": None, "port": 1, "address": HOSTILE},
        {"base_url": f"/{HOSTILE}/"},
        {"base_url": 1},
        {"origin": "elsewhere"},
        {"user_interface": "../x"},
        {"version": 2},
    ],
)
def test_a_hostile_record_is_none(changed: dict[str, object]) -> None:
    members = json.loads(record_text(Record(SERVER, "jupyter lab", ready=True)))
    assert parse_record(json.dumps(members).encode()) is not None
    assert parse_record(json.dumps({**members, **changed}).encode()) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"sock": f"/{HOSTILE}"},
        {"base_url": f"/{HOSTILE}"},
        {"version": 2},
        {"token": "\ud800"},
        {"token": "a\r\nX-Other: b"},
    ],
)
def test_a_hostile_runtime_file_is_none(changed: dict[str, object]) -> None:
    members: dict[str, object] = {"base_url": "/", "port": 1}
    assert parse_runtime_file(7, "100@boot", "jp", json.dumps(members).encode()) is not None
    assert parse_runtime_file(7, "100@boot", "jp", json.dumps({**members, **changed}).encode()) is None


def test_the_page_for_a_browser() -> None:
    assert SERVER.path_for_browser == "/lab"
    assert replace(SERVER, base_url="/a/", user_interface="tree").path_for_browser == "/a/tree"


def test_a_token_is_not_in_a_repr() -> None:
    assert "geheim" not in repr(replace(SERVER, token="geheim"))
