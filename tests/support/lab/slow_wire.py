"""A wire between two machines that delays and loses packets: two TUN interfaces and a thread between them.

For kernels without netem; an ordinary wire is a veth pair.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import threading
import time
from types import TracebackType
from typing import Final, Self

from tests.support.lab.namespace import Namespace

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN: Final = 0x1
_IFF_NO_PI: Final = 0x1000
_PACKET_BYTES: Final = 65536
_JOIN_TIMEOUT_S: Final = 5.0


class SlowWire:
    """A context manager; `delay_s` each way and `loss` (0 to 1) may be changed at any time."""

    def __init__(self, one: Namespace, name: str, other: Namespace, other_name: str) -> None:
        self.delay_s = 0.0
        self.loss = 0.0
        self._ends = [_open_tun(one, name), _open_tun(other, other_name)]
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._relay, name="slow-wire", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._waker)
        self._thread.join(_JOIN_TIMEOUT_S)
        for end in (*self._ends, self._wake):
            os.close(end)

    def _relay(self) -> None:
        """Pass packets on until the pipe is closed, each after its delay, in the order they came."""
        waiting: list[tuple[float, int, int, bytes]] = []
        number = 0
        while True:
            timeout_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            readable, _, _ = select.select([*self._ends, self._wake], [], [], timeout_s)
            if self._wake in readable:
                return
            for end in readable:
                packet = os.read(end, _PACKET_BYTES)
                if random.random() >= self.loss:
                    number += 1
                    heapq.heappush(waiting, (time.monotonic() + self.delay_s, number, end, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, came_from, packet = heapq.heappop(waiting)
                _write(self._ends[1 - self._ends.index(came_from)], packet)


def _open_tun(namespace: Namespace, name: str) -> int:
    """Make a TUN interface there; the answer is the descriptor of its other side."""

    def open_tun() -> int:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
        return tun

    return namespace.call(open_tun)


def _write(end: int, packet: bytes) -> None:
    try:
        os.write(end, packet)
    except OSError:
        return  # an interface that is switched off takes none
