"""What the real daemon shows fits docs/status.schema.json, whatever state its tunnels are in."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

import jsonschema

from tests.support.client import Jtunnel
from tests.support.profiles import profile
from tests.support.sshd import Sshd
from tests.support.streams import EchoServer, dial, echoes, free_port

PATH = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "status.schema.json")


def validate(shown: Any) -> None:
    with open(PATH, encoding="utf-8") as file:
        jsonschema.Draft202012Validator(json.load(file)).validate(shown)


def test_real_documents_fit(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port, taken = free_port(), free_port()
    jtunnel.write_config(
        profile("a", f"{port}:{echo.target}", tags=["work"])
        + profile("blocked", f"{taken}:{echo.target}")
        + profile("unreachable", f"{free_port()}:{echo.target}", host="nowhere.invalid")
        + profile("lazy", f"{free_port()}:{echo.target}", autostart="on-demand")
        + profile("notebook")
        + "[profiles.notebook.jupyter]\nlocal_port = 'auto'\n"
    )
    with socket.create_server(("127.0.0.1", taken)):
        jtunnel.run("up", "blocked")
        jtunnel.run("up", "unreachable", "--no-wait")
        jtunnel.check("up", "a")
        with dial(port) as client:
            assert echoes(client, b"hello")
            jtunnel.wait_state("unreachable", "retrying")
            shown = jtunnel.status()
    assert [each["state"] for each in shown["tunnels"]] == ["up", "blocked", "retrying", "down", "down"]
    validate(shown)
    jtunnel.home.write_config("nonsense")
    jtunnel.run("reload")
    shown = jtunnel.status()
    assert shown["daemon"]["config_problem"]
    validate(shown)
