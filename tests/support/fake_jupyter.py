"""Processes that look like Jupyter servers to whoever looks for them: words, runtime file, socket, API.

They start in a tenth of a second, and are for tests of finding; what Jupyter must do is tested with Jupyter.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import IO

from tests.support.local_remote import RemoteHome

PROGRAM = """
import http.server, json, os, signal, socket, sys

options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:] if word.startswith("--"))
token = options.get("token", "")
asked = []


class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        known = self.headers.get("Authorization") == f"token {token}" or not token
        asked.append([self.path, self.headers.get("Authorization")])
        answers = {"/api": {"version": "9.9.9"}, "/lab": {}, "/asked": asked}
        if known:
            answers |= {
                "/api/status": {"kernels": 2, "last_activity": "2026-11-22T04:00:00.000000Z"},
                "/api/kernels": [{"execution_state": "busy"}, {"execution_state": "idle"}],
            }
        body = json.dumps(answers.get(path, {})).encode()
        wanted = path.startswith("/api/") and not known
        self.send_response(403 if wanted else 200 if path in answers else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class UnixServer(http.server.HTTPServer):
    address_family = socket.AF_UNIX

    def server_bind(self):
        self.socket.bind(self.server_address)
        os.chmod(self.server_address, 0o600)


sock = options.get("sock", "")
server = UnixServer(sock, Api) if sock else http.server.HTTPServer(("127.0.0.1", 0), Api)
port = 0 if sock else server.server_address[1]
if directory := options.get("ServerApp.runtime_dir") or os.environ.get("JUPYTER_RUNTIME_DIR"):
    os.makedirs(directory, exist_ok=True)
    members = {"pid": os.getpid(), "base_url": "/", "port": port, "sock": sock, "token": token}
    members |= {"root_dir": options.get("root", "/srv"), "version": "9.9.9", "password": False}
    with open(f"{directory}/jpserver-{os.getpid()}.json", "w") as file:
        json.dump(members, file)
os.write(int(options["ready"]), b"%d\\n" % port)
server.serve_forever()
"""


@dataclass(frozen=True, slots=True)
class FakeJupyter:
    """One of them. `port` is 0 on a Unix socket."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid


def start_fake(
    home: RemoteHome,
    *options: str,
    python: str = "/usr/bin/python3",
    output: IO[bytes] | int = subprocess.DEVNULL,
    **environment: str,
) -> FakeJupyter:
    """Start `PYTHON jupyter-lab OPTION…` in a home and wait until it listens."""
    program = home.write("tools/jupyter-lab", PROGRAM)
    ready, told = os.pipe()
    with os.fdopen(ready) as reader:
        process = subprocess.Popen(
            [python, program, f"--ready={told}", *options],
            cwd=home.path,
            env={**home.env, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[told],
            start_new_session=True,
        )
        os.close(told)
        port = reader.readline()
    assert port, "the fake has ended"
    return FakeJupyter(process, int(port))


def runtime_file(fake: FakeJupyter, **changed: object) -> str:
    """The text of a runtime file such as its server would write."""
    members = {"pid": fake.pid, "base_url": "/", "port": fake.port, "token": "", "root_dir": "/srv"}
    return json.dumps({**members, **changed})
