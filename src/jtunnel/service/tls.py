"""TLS over one channel to a server whose certificate is known by its fingerprint; no authorities, no names.

The way there is SSH already: what counts is that nothing is said before the far end has shown that it holds
the key of that certificate. How weak its key or its ciphers are is all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from typing import Final

from jtunnel.remote import FarEnd

_CHUNK: Final = 65536


class NoTlsError(Exception):
    """The far end does not speak TLS."""


class TlsSession(asyncio.Protocol):
    """The protocol of a channel that TLS is spoken over, by one reader."""

    def __init__(self) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _context().wrap_bio(self._incoming, self._outgoing)
        self._arrived = asyncio.Event()
        self._is_over = False

    async def shake_hands(self, channel: FarEnd) -> str:
        """Begin; returns the fingerprint of the certificate whose key the far end holds.

        Raises NoTlsError; of a channel that closes before, the fingerprint is empty.
        """
        while True:
            try:
                self._tls.do_handshake()
                self._flush(channel)
                return fingerprint(self._tls.getpeercert(binary_form=True) or b"")
            except ssl.SSLWantReadError:
                self._flush(channel)
                if not await self._more():
                    return ""
            except ssl.SSLError:
                raise NoTlsError from None

    async def exchange(self, channel: FarEnd, data: bytes, at_most: int) -> bytes:
        """Send `data` and read until the far end has no more to say, or has sent more than `at_most`."""
        self._tls.write(data)
        answer = bytearray()
        more = True
        # A far end that closes without a farewell is seen by what HTTP lacks.
        with contextlib.suppress(ssl.SSLError):
            while more and len(answer) <= at_most:
                self._flush(channel)
                try:
                    while len(answer) <= at_most and (read := self._tls.read(_CHUNK)):
                        answer += read
                    more = False
                except ssl.SSLWantReadError:
                    more = await self._more()
        return bytes(answer)

    async def _more(self) -> bool:
        """Wait for bytes; False where none will come."""
        while not self._incoming.pending and not self._is_over:
            self._arrived.clear()
            await self._arrived.wait()
        return self._incoming.pending > 0

    def _flush(self, channel: FarEnd) -> None:
        if data := self._outgoing.read():
            channel.write(data)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        self._arrived.set()

    def eof_received(self) -> None:
        self._is_over = True
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        self._arrived.set()


def fingerprint(certificate: bytes) -> str:
    """The SHA-256 of a certificate in DER, in hexadecimal digits; empty for none."""
    return hashlib.sha256(certificate).hexdigest() if certificate else ""


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Servers of ten years ago are met too, with the 1024-bit keys that their manual told people to make.
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:!aNULL:@SECLEVEL=0")
    return context
