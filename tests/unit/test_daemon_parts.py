"""The daemon's small parts: kept ports, redirect pages, the log's format, the notice to systemd."""

from __future__ import annotations

import asyncio
import html
import json
import logging
import os
import re
import socket
import stat
from pathlib import Path

import pytest

from jtunnel.daemon.logs import start_logging
from jtunnel.daemon.notify import notify
from jtunnel.daemon.pages import Pages
from jtunnel.daemon.ports import Ports

URL = 'http://localhost:8888/lab?token=0123456789abcdef"<'


def test_an_automatic_port_is_kept_for_ever_and_is_nobody_elses(tmp_path: Path) -> None:
    path = str(tmp_path / "ports.json")
    first = Ports(path).port_for("gpu", {8888})
    assert Ports(path).port_for("gpu", {8888}) == first
    assert Ports(path).port_for("other", {8888, first}) not in (first, 8888)


def test_a_kept_port_that_another_profile_names_gives_way(tmp_path: Path) -> None:
    ports = Ports(str(tmp_path / "ports.json"))
    first = ports.port_for("gpu", set())
    assert ports.port_for("gpu", {first}) != first


@pytest.mark.parametrize("content", ["", "[1]", '{"gpu": "8888", "x": 0, "y": 70000}', "\xff"])
def test_a_spoilt_file_of_ports_is_no_obstacle(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ports.json"
    path.write_text(content, encoding="latin-1")
    port = Ports(str(path)).port_for("gpu", set())
    assert 0 < port < 65536
    assert json.loads(path.read_text())["gpu"] == port


def test_a_page_is_private_and_leads_on_and_goes_away(tmp_path: Path) -> None:
    async def write() -> str:
        return Pages(str(tmp_path)).write(URL)

    path = Path(asyncio.run(write()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    # A killed daemon leaves pages; the next one removes them.
    Pages(str(tmp_path))
    assert not path.exists()
    script = re.search(r"location\.replace\((.*)\);</script>", text)
    assert script is not None
    assert json.loads(script[1]) == URL
    assert f'url={html.escape(URL)}"' in text
    assert "<" not in script[1]


def test_log_lines_are_dated_name_their_tunnel_and_hold_no_token(tmp_path: Path) -> None:
    path = tmp_path / "jtunnel.log"
    root = logging.getLogger()
    before = list(root.handlers), root.level
    try:
        start_logging(str(path), to_terminal=False)
        logging.getLogger("x").info("plain")
        logging.LoggerAdapter(logging.getLogger("x"), {"tunnel": "gpu"}).warning("GET /?token=deadbeef0123")
    finally:
        for handler in set(root.handlers) - set(before[0]):
            root.removeHandler(handler)
            handler.close()
        root.setLevel(before[1])
    plain, warned = path.read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info    plain", plain)
    assert warned.endswith("Z warning [gpu] GET /?token=…")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, abstract: bool) -> None:
    name = f"@jtunnel-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1))
        manager.settimeout(5)
        notify({"NOTIFY_SOCKET": name}, "READY=1", "STATUS=fine")
        assert manager.recv(100) == b"READY=1\nSTATUS=fine"


def test_without_systemd_nothing_is_told(tmp_path: Path) -> None:
    notify({}, "READY=1")
    notify({"NOTIFY_SOCKET": str(tmp_path / "nobody")}, "READY=1")
