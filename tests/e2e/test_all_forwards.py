"""Every kind of forward as people use it: SOCKS, from the far side, Unix sockets, IPv6, added later."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from jtunnel.status import ForwardStatus
from tests.support.accounts import Account
from tests.support.client import Jtunnel
from tests.support.home import Home
from tests.support.postgres import USER, postgres
from tests.support.profiles import profile
from tests.support.programs import find_program
from tests.support.sshd import Sshd
from tests.support.streams import (
    EchoServer,
    dial,
    dial_unix,
    echoes,
    free_port,
    has_ipv6,
    listens,
    receive_all,
)


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"you asked {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def web_server() -> Iterator[int]:
    """A web server on 127.0.0.1; the value is its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def curl(*words: str) -> subprocess.CompletedProcess[str]:
    command = [find_program("curl"), "-sS", "--max-time", "30", "--noproxy", "", *words]
    return subprocess.run(command, capture_output=True, text=True)


def dynamic(listen: object) -> str:
    return f'{{ kind = "dynamic", listen = "{listen}" }}'


def remote(listen: object, target: str) -> str:
    return f'{{ kind = "remote", listen = "{listen}", target = "{target}" }}'


def forward(jtunnel: Jtunnel, index: int = 0) -> ForwardStatus:
    return jtunnel.tunnel("a")["forwards"][index]


def port_of(forward: ForwardStatus) -> int:
    return int(forward["listen"].rpartition(":")[2])


def test_curl_through_socks_by_name(jtunnel: Jtunnel, box: Sshd) -> None:
    port = free_port()
    jtunnel.write_config(profile("a", dynamic(port)))
    jtunnel.check("up", "a")
    with web_server() as web:
        for way in ("--socks5-hostname", "--socks4a"):
            got = curl(way, f"127.0.0.1:{port}", f"http://localhost:{web}/")
            assert (got.stdout, got.stderr) == (f"you asked localhost:{web}", "")
        down = curl("--socks5-hostname", f"localhost:{port}", f"http://localhost:{free_port()}/")
        assert "(5)" in down.stderr, down
        unknown = curl("--socks5-hostname", f"localhost:{port}", "http://no-such-host.invalid/")
        assert "(4)" in unknown.stderr, unknown
        shown = forward(jtunnel)
        assert (shown["kind"], shown["listen"], shown["target"]) == ("dynamic", f"127.0.0.1:{port}", None)
        assert shown["accepted"] == 4
        # Other sites being down is not the proxy's problem.
        assert shown["problem"] is None
        assert jtunnel.tunnel("a")["state"] == "up"
        # Whoever asks during an outage waits for its end.
        box.stop()
        jtunnel.wait_state("a", "retrying")
        waiting = subprocess.Popen(
            [
                find_program("curl"),
                "-sS",
                "--socks5-hostname",
                f"127.0.0.1:{port}",
                f"http://localhost:{web}/",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        with waiting:
            jtunnel.wait_tunnel("a", lambda tunnel: tunnel["forwards"][0]["held"] == 1)
            box.start()
            assert waiting.communicate(timeout=60)[0] == f"you asked localhost:{web}"


def test_from_the_far_side_to_here_and_again_after_an_outage(
    jtunnel: Jtunnel, box: Sshd, echo: EchoServer
) -> None:
    fixed = free_port()
    jtunnel.write_config(profile("a", remote(fixed, echo.target), remote(0, echo.target)))
    jtunnel.check("up", "a")
    chosen = port_of(forward(jtunnel, 1))
    assert chosen not in (0, fixed)
    for port in (fixed, chosen):
        with dial(port) as client:
            assert echoes(client, b"x" * 300_000)
    box.drop_sessions()
    jtunnel.wait_tunnel("a", lambda tunnel: tunnel["reconnects"] == 1 and tunnel["state"] == "up")
    assert port_of(forward(jtunnel, 1)) == chosen
    for port in (fixed, chosen):
        with dial(port) as client:
            assert echoes(client)
    jtunnel.check("down", "a")
    assert not listens(fixed)
    assert not listens(chosen)


@pytest.mark.long
def test_a_remote_port_that_is_taken_is_tried_again(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    port, local = free_port(), free_port()
    jtunnel.write_config(profile("a", remote(port, echo.target), f"{local}:{echo.target}"))
    with socket.create_server(("127.0.0.1", port)), contextlib.ExitStack() as stack:
        if has_ipv6():
            stack.enter_context(socket.create_server(("::1", port), family=socket.AF_INET6))
        jtunnel.run("up", "a", "--no-wait")
        tunnel = jtunnel.wait_tunnel(
            "a", lambda tunnel: tunnel["state"] == "retrying" and tunnel["retry_at"] is not None
        )
        assert tunnel["problem"] is not None
        assert tunnel["problem"]["kind"] == "forward-refused"
        assert f"port {port} on " in tunnel["problem"]["message"]
        assert tunnel["forwards"][0]["problem"] == tunnel["problem"]
        # The other one serves meanwhile.
        with dial(local) as client:
            assert echoes(client)
    jtunnel.wait_state("a", "up")
    with dial(port) as client:
        assert echoes(client)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["port", "socket"])
def test_what_a_connection_that_fell_silent_holds_is_taken_over(
    jtunnel: Jtunnel, box: Sshd, account: Account, echo: EchoServer, kind: str
) -> None:
    """Its side of the connection lives on over there, and keeps the port, until the next one ends it."""
    port, path = free_port(), account.path("back.sock")
    listen = port if kind == "port" else path
    jtunnel.write_config(profile("a", remote(listen, echo.target), keepalive_interval=1))
    jtunnel.check("up", "a")
    # Its session is known once the last command is through; a socket has one more, which sets its mode.
    commands, give_up_at = (1 if kind == "port" else 2), time.monotonic() + 20
    while box.log.tail(1000).count("Close session: user") < commands:
        assert time.monotonic() < give_up_at, box.log.tail()
        time.sleep(0.02)
    with contextlib.closing(dial(port) if kind == "port" else dial_unix(path)) as client:
        assert echoes(client)
    frozen = box.sessions()
    for process in frozen:
        process.suspend()
    try:
        jtunnel.wait_tunnel(
            "a", lambda tunnel: tunnel["reconnects"] == 1 and tunnel["state"] == "up", timeout_s=90
        )
        with contextlib.closing(dial(port) if kind == "port" else dial_unix(path)) as client:
            assert echoes(client)
    finally:
        for process in frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def test_one_that_the_server_forbids_leaves_the_others(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    box.restart(options={"AllowTcpForwarding": "local"})
    local, proxy = free_port(), free_port()
    jtunnel.write_config(
        profile("a", remote(free_port(), echo.target), f"{local}:{echo.target}", dynamic(proxy))
    )
    assert jtunnel.run("up", "a").returncode == 4
    assert jtunnel.blocked_by("a") == "forward-refused"
    refused, *others = jtunnel.tunnel("a")["forwards"]
    assert refused["problem"] is not None
    assert "forbids remote forwarding" in refused["problem"]["message"]
    assert not refused["listening"]
    assert [other["problem"] for other in others] == [None, None]
    with dial(local) as client:
        assert echoes(client)
    with web_server() as web:
        assert curl("--socks5", f"127.0.0.1:{proxy}", f"http://127.0.0.1:{web}/").returncode == 0
    box.restart(options={"AllowTcpForwarding": "yes"}, keep_sessions=False)
    jtunnel.check("up", "a")


@pytest.mark.long
def test_two_profiles_on_one_link(jtunnel: Jtunnel, box: Sshd) -> None:
    one, two = free_port(), free_port()
    with EchoServer() as echo, socket.create_server(("127.0.0.1", 0)) as other:
        there = f"127.0.0.1:{other.getsockname()[1]}"
        jtunnel.write_config(
            profile("a", remote(one, echo.target))
            + profile("b", remote(two, there))
            + profile("c", remote(one, there))
        )
        jtunnel.check("up", "a", "b")
        assert len(box.sessions()) <= 2  # sshd's two processes for one connection
        with dial(one) as client:
            assert echoes(client)
        with dial(two) as client, other.accept()[0] as accepted:
            accepted.sendall(b"other")
            assert client.recv(5) == b"other"
        jtunnel.run("up", "c")
        assert jtunnel.blocked_by("c") == "forward-refused"
        jtunnel.check("down", "a")
        jtunnel.check("up", "c")
        with dial(one), other.accept()[0]:
            pass


@pytest.mark.long
def test_postgresql_by_its_unix_socket(jtunnel: Jtunnel, box: Sshd, account: Account, home: Home) -> None:
    with postgres(account) as path:
        jtunnel.write_config(profile("a", f'{{ listen = "~/.run/.s.PGSQL.5432", target = "{path}" }}'))
        jtunnel.check("up", "a")
        directory = os.path.join(home.path, ".run")
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        assert stat.S_IMODE(os.stat(os.path.join(directory, ".s.PGSQL.5432")).st_mode) == 0o600
        query = "select count(*), sum(n) from generate_series(1, 300000) n"
        for statement, expected in (
            (query, "300000|45000150000"),
            ("select repeat('x', 3000000)", "x" * 3_000_000),
        ):
            asked = subprocess.run(
                [
                    find_program("psql"),
                    "-X",
                    "-A",
                    "-t",
                    "-h",
                    directory,
                    "-U",
                    USER,
                    "-c",
                    statement,
                    "postgres",
                ],
                env=home.env,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert (asked.stdout.strip(), asked.stderr) == (expected, "")


@pytest.mark.long
def test_a_unix_socket_over_there_survives_a_lost_connection(
    jtunnel: Jtunnel, box: Sshd, account: Account, home: Home
) -> None:
    there, here = account.path("back.sock"), os.path.join(home.path, "here.sock")
    with EchoServer(path=here):
        jtunnel.write_config(profile("a", remote(there, "~/here.sock")))
        jtunnel.check("up", "a")
        box.drop_sessions()
        jtunnel.wait_tunnel("a", lambda tunnel: tunnel["reconnects"] == 1 and tunnel["state"] == "up")
        with dial_unix(there) as client:
            assert echoes(client)
        shown = forward(jtunnel)
        assert (shown["listen"], shown["target"]) == (f"unix:{there}", f"unix:{here}")
        jtunnel.check("down", "a")
    assert not os.path.exists(there)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_ipv6_on_every_side(jtunnel: Jtunnel, box: Sshd) -> None:
    local, proxy, back = free_port(), free_port(), free_port()
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as target:
        to = f"[::1]:{target.getsockname()[1]}"
        jtunnel.write_config(
            profile("a", f"[::1]:{local}:{to}", dynamic(f"[::1]:{proxy}"), remote(f"[::1]:{back}", to))
        )
        jtunnel.check("up", "a")
        target.accept()[0].close()  # jtunnel's own try
        for port in (local, back):
            with dial(port, "::1") as client, target.accept()[0] as accepted:
                accepted.sendall(b"hello")
                accepted.shutdown(socket.SHUT_WR)
                assert receive_all(client) == b"hello"
            assert not listens(port)
        asking = threading.Thread(target=curl, args=("--socks5", f"[::1]:{proxy}", f"http://{to}/"))
        asking.start()
        with target.accept()[0] as accepted:
            assert accepted.recv(4) == b"GET "
        asking.join()


def test_added_to_a_live_tunnel(jtunnel: Jtunnel, box: Sshd, echo: EchoServer) -> None:
    first, local, proxy = free_port(), free_port(), free_port()
    jtunnel.write_config(profile("a", f"{first}:{echo.target}"))
    jtunnel.check("up", "a")
    with dial(first) as client:
        jtunnel.check("forward", "a", f"{local}:{echo.target}")
        jtunnel.check("forward", "a", str(proxy), "--dynamic")
        jtunnel.check("forward", "a", f"0:{echo.target}", "--remote")
        kinds = [(shown["kind"], shown["temporary"]) for shown in jtunnel.tunnel("a")["forwards"]]
        assert kinds == [("local", False), ("local", True), ("dynamic", True), ("remote", True)]
        back = port_of(forward(jtunnel, 3))
        for port in (local, back):
            with dial(port) as other:
                assert echoes(other)
        with web_server() as web:
            got = curl("--socks5-hostname", f"127.0.0.1:{proxy}", f"http://localhost:{web}/")
            assert got.returncode == 0, got
        jtunnel.check("forward", "a", "--remove")
        assert len(jtunnel.tunnel("a")["forwards"]) == 1
        for port in (local, proxy, back):
            assert not listens(port)
        # What was there before was left alone.
        assert echoes(client)
