"""Listening sockets: where they are opened, and what is said where they cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.errors import ListenerError
from jtunnel.forward.binding import Binding, bind
from jtunnel.forward.holder import find_holder
from jtunnel.paths import MAX_SOCKET_PATH

NOBODY = 65534

TAKE_PORT = """
import socket, sys
sock = socket.create_server((sys.argv[1], int(sys.argv[2])), family=int(sys.argv[3]))
print(sock.getsockname()[1], flush=True)
sys.stdin.read()
"""
TAKE_PATH = """
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.bind(sys.argv[1])
sock.listen()
print("ready", flush=True)
sys.stdin.read()
"""
FIND_HOLDER_AS = """
import os, sys
from jtunnel.address import TcpAddress
from jtunnel.forward.holder import find_holder
os.setuid(int(sys.argv[2]))
print(find_holder(TcpAddress("127.0.0.1", int(sys.argv[1]))))
"""
WITHOUT_IPV6 = 'echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6; ip link set lo up; exec "$@"'
BIND = """
import asyncio
from jtunnel.address import TcpAddress
from jtunnel.forward.binding import bind
binding = asyncio.run(bind("jupyter", TcpAddress("", 8888)))
print(*binding.addresses)
binding.close()
"""


@contextlib.contextmanager
def running(script: str, *arguments: str) -> Iterator[tuple[psutil.Process, str]]:
    """Another Python process and the first line it prints; it ends with its standard input."""
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield psutil.Process(process.pid), process.stdout.readline().strip()
        process.stdin.close()


def taken_port(
    host: str = "127.0.0.1", port: int = 0
) -> contextlib.AbstractContextManager[tuple[psutil.Process, str]]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return running(TAKE_PORT, host, str(port), str(int(family)))


@contextlib.contextmanager
def bound(listen: Address, forward: str = "jupyter") -> Iterator[Binding]:
    binding = asyncio.run(bind(forward, listen))
    try:
        yield binding
    finally:
        binding.close()


def refusal(listen: Address, forward: str = "jupyter") -> ListenerError:
    """The error of a binding that must fail."""
    with pytest.raises(ListenerError) as caught:
        asyncio.run(bind(forward, listen)).close()
    assert caught.value.kind == "port-in-use"
    assert caught.value.advice
    return caught.value


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


@pytest.mark.parametrize("host", ["", "localhost"])
@needs_ipv6
def test_no_host_is_both_loopback_addresses_on_one_port(host: str) -> None:
    with bound(TcpAddress(host, 0)) as binding:
        first, second = binding.addresses
        assert isinstance(first, TcpAddress)
        assert second == TcpAddress("::1", first.port)
        assert first.host == "127.0.0.1"
        assert first.port > 0


@pytest.mark.parametrize("host", ["", "localhost"])
@needs_ipv6
def test_busy_ipv6_loopback_is_an_error(host: str) -> None:
    """Who has it would be sent the requests for localhost, with their token."""
    with taken_port("::1") as (holder, port):
        error = refusal(TcpAddress(host, int(port)))
        assert error.message == f"port {port} on ::1 is taken by {holder.name()} (pid {holder.pid})"
        assert "local_port" in error.advice
        # Nothing stays behind, and who asks for 127.0.0.1 alone gets it.
        with bound(TcpAddress("127.0.0.1", int(port))) as binding:
            assert binding.addresses == (TcpAddress("127.0.0.1", int(port)),)


@needs_ipv6
def test_port_that_is_busy_on_one_of_all_addresses_is_an_error() -> None:
    with taken_port("::1") as (holder, port):
        assert f"on :: is taken by {holder.name()}" in refusal(TcpAddress("*", int(port))).message


@pytest.mark.root
def test_missing_ipv6_is_done_without() -> None:
    command = ["unshare", "--net", "sh", "-ec", WITHOUT_IPV6, "sh", sys.executable, "-c", BIND]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("127.0.0.1:8888\n", "")


@needs_ipv6
def test_busy_ipv6_loopback_is_an_error_where_it_was_asked_for() -> None:
    with taken_port("::1") as (holder, port):
        error = refusal(TcpAddress("::1", int(port)))
        assert error.message == f"port {port} on ::1 is taken by {holder.name()} (pid {holder.pid})"


def test_busy_port_names_its_holder() -> None:
    with taken_port() as (holder, port):
        error = refusal(TcpAddress("", int(port)))
        assert error.message == f"port {port} on 127.0.0.1 is taken by {holder.name()} (pid {holder.pid})"
        assert "local_port" in error.advice
        assert '"6006:localhost:6006"' in refusal(TcpAddress("", int(port)), "6006:localhost:6006").advice


def test_holder_on_all_addresses_is_found() -> None:
    with taken_port("0.0.0.0") as (holder, port):
        assert f"(pid {holder.pid})" in refusal(TcpAddress("127.0.0.1", int(port))).message


def test_port_of_our_own_is_said_to_be_ours() -> None:
    with bound(TcpAddress("", 0)) as binding:
        assert "another forward of this daemon" in refusal(binding.addresses[0]).message


@pytest.mark.root
def test_holder_of_another_user_cannot_be_named() -> None:
    with taken_port() as (_, port), running(FIND_HOLDER_AS, port, str(NOBODY)) as (_, found):
        assert found == "a process of another user"


def test_port_that_nobody_has_has_no_holder() -> None:
    with bound(TcpAddress("127.0.0.1", 0)) as binding:
        address = binding.addresses[0]
    assert find_holder(address) == "a process that cannot be named"


def test_port_is_free_again_after_close() -> None:
    with bound(TcpAddress("127.0.0.1", 0)) as binding:
        address = binding.addresses[0]
        assert isinstance(address, TcpAddress)
        client = socket.create_connection((address.host, address.port))
    with client, bound(address) as again:
        assert again.addresses == (address,)


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Root gives up its rights for a moment; others have none to give up."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_privileged_port() -> None:
    lowest = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if lowest.exists() and int(lowest.read_text()) <= 1:
        with without_privileges(), bound(TcpAddress("127.0.0.1", 1)):
            return  # this machine lets everybody have low ports
    with without_privileges():
        error = refusal(TcpAddress("127.0.0.1", 1))
    assert error.message == "port 1 on 127.0.0.1 is reserved for root"
    assert "1024 or higher" in error.advice


def test_address_of_another_machine() -> None:
    error = refusal(TcpAddress("192.0.2.7", 0), "db")
    assert error.message == "192.0.2.7 is not an address of this machine"
    assert error.advice == 'let forward "db" listen on 127.0.0.1'


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70 + ".invalid"])
def test_name_without_an_address(host: str) -> None:
    assert host in refusal(TcpAddress(host, 0)).message


def test_all_addresses() -> None:
    with bound(TcpAddress("*", 0)) as binding:
        assert str(binding.addresses[0]).startswith("0.0.0.0:")


def test_unix_socket_is_private_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    umask = os.umask(0)
    try:
        with bound(UnixAddress(str(path))) as binding:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert binding.addresses == (UnixAddress(str(path)),)
    finally:
        assert os.umask(umask) == 0
    assert not path.exists()


def test_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    stale = path.stat().st_ino
    with bound(UnixAddress(str(path))), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert stale
    assert not path.exists()


def test_live_unix_socket_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with running(TAKE_PATH, path) as (holder, _):
        error = refusal(UnixAddress(path), "db")
        assert error.message == f"the socket {path} is taken by {holder.name()} (pid {holder.pid})"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


def test_live_unix_socket_with_a_full_backlog_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as busy, contextlib.ExitStack() as clients:
        busy.bind(path)
        busy.listen(0)
        while True:
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            if client.connect_ex(path):
                break
        assert "is taken by" in refusal(UnixAddress(path)).message
    assert stat.S_ISSOCK(os.lstat(path).st_mode)


def test_datagram_socket_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        assert "is taken by" in refusal(UnixAddress(path)).message
    assert stat.S_ISSOCK(os.lstat(path).st_mode)


@pytest.mark.parametrize("kind", ["file", "directory", "symlink", "dangling"])
def test_other_files_are_never_removed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "precious"
    target = tmp_path / "target"
    match kind:
        case "file":
            path.write_text("precious")
        case "directory":
            path.mkdir()
        case "symlink":
            target.write_text("precious")
            path.symlink_to(target)
        case _:
            path.symlink_to(target)
    before = path.lstat().st_ino
    error = refusal(UnixAddress(str(path)), "db")
    assert error.message == f"{path} exists and is not a socket"
    assert path.lstat().st_ino == before


def test_socket_file_of_somebody_else_is_not_removed_on_close(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bound(UnixAddress(str(path))):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


def test_missing_directories_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    with bound(UnixAddress(f"{tmp_path}/.run/db/s")):
        assert stat.S_IMODE((tmp_path / ".run/db/s").stat().st_mode) == 0o600
        for made in (tmp_path / ".run", tmp_path / ".run/db"):
            assert stat.S_IMODE(made.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o775, 0o1777])
def test_missing_directory_where_others_make_files_too(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    error = refusal(UnixAddress(f"{tmp_path}/missing/s"), "db")
    assert error.message == f"there is no directory {tmp_path}/missing"
    assert not (tmp_path / "missing").exists()


def test_missing_directory_of_somebody_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with without_privileges():
        error = refusal(UnixAddress(f"{tmp_path}/missing/s"), "db")
    assert f"{tmp_path}/missing" in error.message
    assert not (tmp_path / "missing").exists()


def test_directory_that_may_not_be_written(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    with without_privileges():
        error = refusal(UnixAddress(f"{closed}/s"), "db")
    assert str(closed) in error.message


def test_path_too_long(tmp_path: Path) -> None:
    path = f"{tmp_path}/{'x' * MAX_SOCKET_PATH}"
    assert str(MAX_SOCKET_PATH) in refusal(UnixAddress(path)).message
