"""A DNS server for a handful of names, which can fail on demand (RFC 1035 §4). IPv4 and UDP only."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Literal, Self

from tests.support.lab.namespace import Namespace

#: It answers, says that there is no such name, says that it failed, or says nothing.
Mode = Literal["answers", "no-such-name", "fails", "mute"]

_CODES: Final[Mapping[Mode, int]] = {"answers": 0, "fails": 2, "no-such-name": 3}
_TYPE_A: Final = 1
_TTL_S: Final = 1
_JOIN_TIMEOUT_S: Final = 5.0


class NameServer:
    """Answers for `names` (name → address) on port 53 of an address; a context manager.

    `mode` may be changed at any time; `asked` counts the questions that have come.
    """

    def __init__(self, namespace: Namespace, address: str, names: Mapping[str, str]) -> None:
        self.mode: Mode = "answers"
        self.names = dict(names)
        self.asked = 0
        self._address = address
        self._socket = namespace.open_socket(socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._serve, name="name-server", daemon=True)

    def __enter__(self) -> Self:
        self._socket.bind((self._address, 53))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Wakes the thread, with an error or with nothing.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(_JOIN_TIMEOUT_S)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, sender = self._socket.recvfrom(4096)
            if not question:
                return
            self.asked += 1
            if self.mode != "mute":
                self._socket.sendto(self._answer(question), sender)

    def _answer(self, query: bytes) -> bytes:
        labels, position = [], 12
        while length := query[position]:
            labels.append(query[position + 1 : position + 1 + length].decode())
            position += 1 + length
        end = position + 5
        kind = struct.unpack_from("!H", query, position + 1)[0]
        address = self.names.get(".".join(labels).lower())
        code = _CODES[self.mode] if address else _CODES["no-such-name"]
        records = b""
        if not code and kind == _TYPE_A and address:
            # The name is a pointer to the question's (RFC 1035 §4.1.4).
            records = struct.pack("!HHHIH", 0xC00C, _TYPE_A, 1, _TTL_S, 4) + socket.inet_aton(address)
        # A response; recursion was desired, as asked, and is available.
        flags = 0x8080 | (query[2] << 8 & 0x100) | code
        header = query[:2] + struct.pack("!HHHHH", flags, 1, 1 if records else 0, 0, 0)
        return header + query[12:end] + records
