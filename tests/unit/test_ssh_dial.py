"""A TCP connection to one of several addresses: refused, silent and good ones; nothing is left open."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator

import psutil
import pytest

from jtunnel.ssh.dial import dial, first_word
from jtunnel.ssh.names import AddressInfo
from tests.support.ssh_connection import run
from tests.support.streams import free_port, has_ipv6

TCP_RTO_MAX_MS = 44


def address(port: int, host: str = "127.0.0.1") -> AddressInfo:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))


def sockets_to(port: int) -> list[str]:
    """The states of this process's TCP connections to a port."""
    connections = psutil.Process().net_connections("tcp")
    return [found.status for found in connections if found.raddr[1:] == (port,)]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A listener that takes no connection: its queue is full, and the kernel drops what comes."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        socket.create_connection(full.getsockname(), timeout=10),
    ):
        full.settimeout(10)
        yield full


def test_the_socket_is_tuned(listener: socket.socket) -> None:
    async def main() -> None:
        with await dial([address(listener.getsockname()[1])], None) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if sys.platform == "linux":
                # The kernel never gives the connection up by itself.
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 24 * 3600 * 1000
                version = tuple(int(part) for part in os.uname().release.split(".")[:2])
                if version >= (6, 15):
                    assert sock.getsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS) == 1000

    run(main)


def test_the_next_address_follows_a_refusal_at_once(listener: socket.socket) -> None:
    async def main() -> None:
        closed = [address(free_port()) for _ in range(20)]
        good = address(listener.getsockname()[1])
        async with asyncio.timeout(2):  # a stagger of 0.25 s each would take 5 s
            with await dial([*closed, good], None) as sock:
                assert sock.getpeername() == listener.getsockname()

    run(main)


def test_the_next_address_does_not_wait_for_a_silent_one(
    silent: socket.socket, listener: socket.socket
) -> None:
    async def main() -> None:
        addresses = [address(silent.getsockname()[1]), address(listener.getsockname()[1])]
        before = len(sockets_to(silent.getsockname()[1]))
        with await dial(addresses, None) as sock:
            assert sock.getpeername() == listener.getsockname()
            assert len(sockets_to(silent.getsockname()[1])) == before

    run(main)


def test_refusals_of_all_addresses_end_it() -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await dial([address(free_port()), address(free_port())], None)

    run(main)


def test_a_missing_route_is_said_at_once_and_only_where_nothing_says_more() -> None:
    async def main() -> None:
        elsewhere = ("192.0.2.1", 0)  # no address of this machine
        with pytest.raises(OSError, match="assign"):
            await dial([address(free_port())], elsewhere)
        if has_ipv6():
            # Its address is of the wrong kind for the first, and nobody listens at the second.
            with pytest.raises(ConnectionRefusedError):
                await dial([address(free_port()), address(free_port(), "::1")], None)

    run(main)


def test_a_cancelled_dial_leaves_no_socket(silent: socket.socket) -> None:
    async def main() -> None:
        port = silent.getsockname()[1]
        before = len(sockets_to(port))
        dialling = asyncio.ensure_future(dial([address(port)], None))
        while len(sockets_to(port)) == before:
            await asyncio.sleep(0)
        dialling.cancel()
        await asyncio.wait([dialling])
        assert dialling.cancelled()
        assert len(sockets_to(port)) == before

    run(main)


@pytest.mark.long  # a fresh connect starts after three seconds
def test_a_silent_address_is_dialled_afresh_and_the_others_are_closed(silent: socket.socket) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        port = silent.getsockname()[1]
        before = len(sockets_to(port))
        began_at = loop.time()
        dialling = asyncio.ensure_future(dial([address(port)], None))
        while len(sockets_to(port)) < before + 2:
            await asyncio.sleep(0.01)
        assert 2.9 <= loop.time() - began_at < 4.5
        # Room for one more: the next packet of any of the two gets through.
        accepted = [silent.accept()[0]]
        with await dialling as sock:
            assert sockets_to(port).count("SYN_SENT") <= before
            while all(other.getpeername() != sock.getsockname() for other in accepted):
                accepted.append(await asyncio.to_thread(lambda: silent.accept()[0]))
        for other in accepted:
            other.close()

    run(main)


def test_the_first_word_is_heard_and_not_read(listener: socket.socket) -> None:
    async def main() -> None:
        with await dial([address(listener.getsockname()[1])], None) as sock:
            far_side, _ = listener.accept()
            with far_side:
                waiting = asyncio.ensure_future(first_word(sock))
                await asyncio.sleep(0)
                assert not waiting.done()
                far_side.sendall(b"SSH-2.0-x\r\n")
                await waiting
                assert sock.recv(100) == b"SSH-2.0-x\r\n"
            # An end is a word too.
            await first_word(sock)
            assert sock.recv(100) == b""

    run(main)
