"""`jtunnel setup` against real Jupyters: the two end states of the posts, and nothing half-done."""

from __future__ import annotations

import asyncio
import contextlib
import http.cookiejar
import json
import os
import socket
import ssl
import stat
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import psutil
import pytest

from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ConfigError, ServerError
from jtunnel.jupyter.setup.run import run_setup
from tests.support import processes
from tests.support.local_remote import RemoteHome, new_home, new_key, run

# Letters that are not ASCII, and what a shell would take for its own.
PASSWORD = "pässwort '$(x)` \\n"
OPTIONS = JupyterOptions(allow_root=True)
START_S = 30.0
#: What people have from the posts.
POST = """
import os
c.NotebookApp.ip = '*'
c.NotebookApp.certfile = os.path.expanduser('~/old.pem')
c.NotebookApp.open_browser = True
print('loading')
"""
OTHERS = '{\n    "NotebookApp": {"nbserver_extensions": {"configurator": true}},\n    "version": 1\n}'


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def set_up(home: RemoteHome, wishes: Mapping[str, Any], password: str = "", **flags: bool) -> dict[str, Any]:
    """One call, as the daemon makes it."""
    apply = flags.get("apply", False)
    return run(run_setup(home.connect(), OPTIONS, new_key(), "gpu-box", wishes, password, apply))


def snapshot(home: RemoteHome, *, state: bool = True) -> dict[str, tuple[int, bytes | str]]:
    """Every file of a home: its mode, and what is in it or where it leads."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for directory, names, files in os.walk(home.path):
        if not state and directory.startswith(f"{home.path}/.local"):
            continue
        for name in (*names, *files):
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found[path] = (mode, os.readlink(path))
            elif stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    found[path] = (stat.S_IMODE(mode), file.read())
            elif state or not path.startswith(f"{home.path}/.local"):
                found[path] = (stat.S_IMODE(mode), "")
    return found


class Browser:
    """Logs in by the form and keeps the cookie; takes only the certificate at `cafile`, for `localhost`."""

    def __init__(self, url: str, cafile: str | None) -> None:
        self.url = url
        context = ssl.create_default_context(cafile=cafile) if cafile else None
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(
            *([urllib.request.HTTPSHandler(context=context)] if context else []),
            urllib.request.HTTPCookieProcessor(self.cookies),
        )

    def get(self, path: str) -> Any:
        with self.opener.open(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def log_in(self, password: str) -> bool:
        self.opener.open(f"{self.url}login", timeout=10).close()
        xsrf = next((cookie.value or "" for cookie in self.cookies if cookie.name == "_xsrf"), "")
        form = urllib.parse.urlencode({"password": password, "_xsrf": xsrf}).encode()
        with contextlib.suppress(urllib.error.HTTPError):
            self.opener.open(f"{self.url}login", form, timeout=10).close()
        return any(cookie.name.startswith("username-") for cookie in self.cookies)


def start_by_hand(home: RemoteHome, command: str) -> subprocess.Popen[bytes]:
    """As a person does after logging in; a browser that is opened leaves a file."""
    browser = home.write("browser", '#!/bin/sh\n: >"$HOME/opened"\n', mode=0o755)
    line = f"nohup {command} >jupyter.log 2>&1 </dev/null & wait $!"
    return subprocess.Popen(["/bin/sh", "-c", line], cwd=home.path, env={**home.env, "BROWSER": browser})


def await_answer(browser: Browser, home: RemoteHome) -> None:
    give_up_at = time.monotonic() + START_S
    while True:
        try:
            browser.get("api")
            return
        except OSError:
            assert time.monotonic() < give_up_at, home.read("jupyter.log")
            time.sleep(0.1)


def listening_addresses(port: int) -> set[str]:
    listening = psutil.net_connections("tcp")
    places = [connection.laddr for connection in listening if connection.status == psutil.CONN_LISTEN]
    return {place[0] for place in places if place and place[1] == port}


@pytest.fixture
def home(notebook6_bin: str) -> Iterator[RemoteHome]:
    """A host with the classic notebook, the quickest to start, and config as people have it."""
    with new_home(notebook6_bin) as made:
        made.write(".jupyter/jupyter_notebook_config.py", POST)
        made.write(".jupyter/jupyter_notebook_config.json", OTHERS)
        os.chmod(f"{made.path}/.jupyter", 0o755)
        yield made


@pytest.mark.long
def test_a_classic_notebook_with_password_and_tls(home: RemoteHome) -> None:
    """End state (a): https at a port of its own, for whoever knows the password; and back again."""
    before = snapshot(home)
    port = free_port()
    wishes = {"tls": True, "port": port}
    planned = set_up(home, wishes)
    assert planned["changes"]
    assert planned["needs_password"]
    assert snapshot(home, state=False) == before
    text = "\n".join(planned["diff"])
    assert '+    "password": "argon2:… (new)"' in text.replace("        ", "    ")
    assert "PRIVATE KEY" not in text
    with pytest.raises(ConfigError, match="password"):
        set_up(home, wishes, apply=True)
    set_up(home, {**wishes, "plan": planned["plan"]}, PASSWORD, apply=True)

    written = snapshot(home)
    again = set_up(home, wishes, apply=True)
    assert (again["changes"], again["diff"], again["needs_password"]) == (False, [], False)
    assert not set_up(home, {**wishes, "password": "set"}, PASSWORD, apply=True)["changes"]
    assert snapshot(home) == written
    for name in ("jtunnel-key.pem", "jupyter_notebook_config.json", "jupyter_server_config.json"):
        assert written[f"{home.path}/.jupyter/{name}"][0] == 0o600, name
    backups = [path for path in written if ".jtunnel-backup-" in path]
    assert [written[path][1] for path in backups] == [OTHERS.encode()]
    assert json.loads(home.read(".jupyter/jupyter_notebook_config.json"))["version"] == 1

    process = start_by_hand(home, "jupyter notebook --allow-root")
    try:
        certificate = f"{home.path}/.jupyter/jtunnel-certificate.pem"
        browser = Browser(f"https://localhost:{port}/", certificate)
        await_answer(browser, home)
        assert listening_addresses(port) <= {"127.0.0.1", "::1"}
        with pytest.raises(urllib.error.HTTPError):
            browser.get("api/contents")
        assert not browser.log_in("wrong")
        assert browser.log_in(PASSWORD)
        assert browser.get("api/contents")["type"] == "directory"
        assert not os.path.exists(f"{home.path}/opened")
        noted = set_up(home, wishes)
        assert not noted["changes"]
        assert any("taken by a process of yours" in note for note in noted["notes"])
    finally:
        processes.kill(processes.running_with("HOME", home.path))
        process.wait(10)

    undone = set_up(home, {"undo": True}, apply=True)
    assert undone["changes"]
    after = snapshot(home)
    for path, value in before.items():
        assert after[path] == value
    left = sorted(name for name in os.listdir(f"{home.path}/.jupyter") if name != "migrated")
    assert left == ["jupyter_notebook_config.json", "jupyter_notebook_config.py"]
    assert not os.path.exists(f"{home.path}/.local/share/jtunnel/setup.json")
    assert not set_up(home, {"undo": True}, apply=True)["changes"]


@pytest.mark.long
def test_a_jupyter_server_with_a_password_and_a_directory(jupyter_bin: str) -> None:
    """End state (b): a port that is said to be free, a root directory, started as its user would."""
    with new_home(jupyter_bin) as home:
        home.write("work/mine.txt", "x")
        port = free_port()
        with socket.create_server(("127.0.0.1", port)):
            taken = set_up(home, {"port": port, "directory": "~/work"})
            said = f"taken by a process of yours now (pid {os.getpid()})"
            assert any(said in note for note in taken["notes"]), taken["notes"]
        wishes = {"port": port, "directory": "~/work", "password": "set"}
        set_up(home, wishes, PASSWORD, apply=True)
        started = set_up(home, {"start": True}, apply=True)
        assert not started["changes"]
        assert started["started"]["pid"]
        browser = Browser(f"http://localhost:{port}/", None)
        browser.get("api")
        assert browser.log_in(PASSWORD)
        assert [entry["name"] for entry in browser.get("api/contents")["content"]] == ["mine.txt"]
        assert listening_addresses(port) <= {"127.0.0.1", "::1"}
        second = set_up(home, {"start": True}, apply=True)
        assert second["started"]["pid"] is None
        command = psutil.Process(started["started"]["pid"]).cmdline()
        assert command[-1] == "--no-browser"


@pytest.mark.long
def test_jupyter_server_1_and_notebook_6_side_by_side(lab3_bin: str) -> None:
    with new_home(lab3_bin) as home:
        port = free_port()
        set_up(home, {"port": port, "tls": True}, PASSWORD, apply=True)
        server = json.loads(home.read(".jupyter/jupyter_server_config.json"))["ServerApp"]
        classic = json.loads(home.read(".jupyter/jupyter_notebook_config.json"))["NotebookApp"]
        assert server["password"] == classic["password"]
        assert server["password"].startswith("argon2:")
        assert not set_up(home, {}, apply=True)["changes"]
        process = start_by_hand(home, "jupyter lab --allow-root")
        try:
            browser = Browser(f"https://localhost:{port}/", f"{home.path}/.jupyter/jtunnel-certificate.pem")
            await_answer(browser, home)
            assert browser.log_in(PASSWORD)
            assert not os.path.exists(f"{home.path}/opened")
        finally:
            processes.kill(processes.running_with("HOME", home.path))
            process.wait(10)


def test_the_password_is_seen_nowhere(home: RemoteHome, caplog: pytest.LogCaptureFixture) -> None:
    """Not in the arguments or the environment of any process, in the log, the answer, or a file."""
    secret = "nobody-may-see-this"
    seen: list[str] = []

    async def watch() -> None:
        while True:
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error, OSError):
                    environ = process.environ()
                    if environ.get("HOME") == home.path:
                        seen.append(f"{process.cmdline()} {environ}")
            await asyncio.sleep(0.005)

    async def both() -> dict[str, Any]:
        watching = asyncio.create_task(watch())
        try:
            wishes = {"tls": True, "password": "set"}
            return await run_setup(home.connect(), OPTIONS, new_key(), "gpu-box", wishes, secret, True)
        finally:
            watching.cancel()

    caplog.set_level("DEBUG")
    answer = run(both())
    assert any("passwd" in line for line in seen), "the watch saw nothing of what makes the hash"
    assert not any(secret in line for line in seen)
    assert secret not in caplog.text
    assert secret not in json.dumps(answer)
    assert not any(
        secret.encode() in value for _, value in snapshot(home).values() if isinstance(value, bytes)
    )


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
def test_another_user_reads_neither_key_nor_hash(home: RemoteHome) -> None:
    set_up(home, {"tls": True}, PASSWORD, apply=True)
    for directory in ("", ".jupyter", ".local", ".local/share", ".local/share/jtunnel"):
        os.chmod(os.path.join(home.path, directory), 0o755)
    hashed = json.loads(home.read(".jupyter/jupyter_notebook_config.json"))["NotebookApp"]["password"]
    found = subprocess.run(
        [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "grep",
            "-rE",
            "argon2|KEY",
            home.path,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert hashed.startswith("argon2:")
    assert found.stdout == ""
    assert "Permission denied" in found.stderr


def test_a_home_that_takes_nothing_stays_as_it_was(home: RemoteHome) -> None:
    # As a full disk does: files can be made, and nothing be put into them.
    home.env["SHELL"] = home.write("full", '#!/bin/sh\nulimit -f 0\nexec /bin/sh "$@"\n', mode=0o755)
    before = snapshot(home, state=False)
    with pytest.raises(ServerError, match=r"cannot be written: .*nothing was changed") as caught:
        set_up(home, {"tls": True}, PASSWORD, apply=True)
    assert "\n" not in str(caught.value)
    assert snapshot(home, state=False) == before
    assert not os.path.exists(f"{home.path}/.local/share/jtunnel")


@pytest.mark.long
def test_what_others_changed_meanwhile_is_not_lost(home: RemoteHome) -> None:
    planned = set_up(home, {"port": 9999})
    home.write(".jupyter/jupyter_notebook_config.json", '{"NotebookApp": {"port": 7777}}')
    with pytest.raises(ConfigError, match="meanwhile"):
        set_up(home, {"port": 9999, "plan": planned["plan"]}, PASSWORD, apply=True)
    assert home.read(".jupyter/jupyter_notebook_config.json") == '{"NotebookApp": {"port": 7777}}'
    # The same password typed for a new one is what was agreed to.
    again = {"port": 9999, "password": "set"}
    set_up(home, {"port": 9999}, PASSWORD, apply=True)
    agreed = set_up(home, again)
    set_up(home, {**again, "plan": agreed["plan"]}, PASSWORD, apply=True)
    members = json.loads(home.read(".jupyter/jupyter_notebook_config.json"))
    members["NotebookApp"] |= {"answer": 42, "port": 9998}
    home.write(".jupyter/jupyter_notebook_config.json", json.dumps(members))
    undone = set_up(home, {"undo": True}, apply=True)
    assert any("NotebookApp.port" in note for note in undone["notes"])
    assert json.loads(home.read(".jupyter/jupyter_notebook_config.json")) == {
        "NotebookApp": {"answer": 42, "port": 9998}
    }


def test_refusals_name_the_cause(home: RemoteHome) -> None:
    home.write(".jupyter/jupyter_notebook_config.json", '{"NotebookApp": {\n"port": }}')
    with pytest.raises(
        ServerError, match=r"~/\.jupyter/jupyter_notebook_config\.json on .* is no JSON \(line 2"
    ):
        set_up(home, {})
    home.write(".jupyter/jupyter_notebook_config.json", "{}")
    home.write(".jupyter/jupyter_notebook_config.py", "c.NotebookApp.token = ''\n")
    with pytest.raises(ServerError, match="token = ''"):
        set_up(home, {"password": "none"})
    with pytest.raises(ConfigError, match="--public needs TLS"):
        set_up(home, {"public": True, "tls": False})
    home.env["JUPYTER_PREFER_ENV_PATH"] = "1"
    home.env["JUPYTER_CONFIG_PATH"] = f"{home.path}/strong"
    home.write("strong/jupyter_notebook_config.json", '{"NotebookApp": {"port": 1}}')
    with pytest.raises(ServerError, match=r"~/strong/.* sets NotebookApp\.port, and counts before"):
        set_up(home, {"port": 9999})
