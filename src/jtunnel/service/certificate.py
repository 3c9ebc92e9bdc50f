"""Which certificate a server that speaks TLS must show: it is read on the host, not trusted blindly."""

from __future__ import annotations

import contextlib
import logging
import ssl
from dataclasses import replace
from typing import Final

from jtunnel.remote import Remote
from jtunnel.service.http import presented
from jtunnel.service.script import run_script
from jtunnel.service.server import Server, StrangerError
from jtunnel.service.tls import fingerprint

#: Any file name does: the search for a certificate reads no file of a profile.
_ANY_KEY: Final = "certificate"
_READ_S: Final = 60.0
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"

_log = logging.getLogger(__name__)


async def certified(remote: Remote, server: Server, *, owned: bool | None, timeout_s: float) -> Server:
    """The server with the fingerprint of its certificate, where it is `secure`.

    One that is known already is not read again. Else what the server shows must be in a file that it was
    told to use. Where that file is not found, or has been renewed under it, it is taken from the server
    itself if `owned`: its listener has been shown to be ours, over this connection.
    Raises StrangerError where neither holds, and what `request` raises.
    """
    if not server.secure:
        return server
    shown = await presented(remote, server.target, timeout_s=timeout_s)
    if shown == server.certificate:
        return server
    files = await read_certificates(remote, server.pid)
    where = next((path for path, known in files if known == shown), None)
    if where is None and owned is not True:
        known = files[0][0] if files else "any file that it was told to use"
        raise StrangerError(
            "jupyter-failed", f"the certificate of {server.target} is another than the one in {known}"
        )
    source = where or "the server itself, whose port is ours"
    if where is None and files:
        source += f"; {files[0][0]} has another"
    if server.certificate:
        source += "; it has changed"
    _log.info("certificate of %s (pid %d) taken from %s", server.target, server.pid, source)
    return replace(server, certificate=shown)


async def read_certificates(remote: Remote, pid: int) -> list[tuple[str, str]]:
    """The certificate files that a process was told to use, the likeliest first: (path, fingerprint)."""
    report = await run_script(remote, "certificate", _ANY_KEY, kind="jupyter", timeout_s=_READ_S, pid=pid)
    found = []
    for line in report.all("certificate"):
        digits, _, path = line.partition(" ")
        with contextlib.suppress(ValueError):
            found.append((path, _fingerprint(bytes.fromhex(digits).decode("ascii", errors="replace"))))
    return [(path, known) for path, known in found if known]


def _fingerprint(text: str) -> str:
    """That of the first certificate in a PEM text, which is the server's own (RFC 8446 §4.4.2)."""
    _, begin, rest = text.partition(_BEGIN)
    body, end, _ = rest.partition(_END)
    try:
        return fingerprint(ssl.PEM_cert_to_DER_cert(begin + body + end)) if end else ""
    except ValueError:
        return ""
