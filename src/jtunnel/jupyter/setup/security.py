"""Which password and which certificate the server gets: those that are there, or new ones. Does no I/O."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jtunnel.errors import ServerError
from jtunnel.jupyter.setup.certificate import end_of, make_certificate, remark
from jtunnel.jupyter.setup.changes import Change
from jtunnel.jupyter.setup.dialects import Dialect
from jtunnel.jupyter.setup.facts import CERTIFICATE_NAME, KEY_NAME, Facts
from jtunnel.jupyter.setup.settings import current
from jtunnel.jupyter.setup.wishes import Wishes

#: The end of what stands for a hash that is not made yet; it is shown as any new one.
PLACEHOLDER: Final = ":not-made-yet"
_TOKEN_SECTIONS: Final = ("ServerApp", "NotebookApp", "IdentityProvider", "PasswordIdentityProvider")


@dataclass(frozen=True, slots=True)
class Tls:
    """The paths for the config, empty without TLS; files to write; what is to be said."""

    certfile: str = ""
    keyfile: str = ""
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


def choose_hash(facts: Facts, dialects: Sequence[Dialect], wishes: Wishes) -> str:
    """The hash to write down: the one there is, a new one, PLACEHOLDER where a password is still to be asked
    for, or none at all.

    Raises ServerError (`jupyter-failed`) where without a password anybody could use the server.
    """
    if wishes.password == "none":  # noqa: S105  (a word, no password)
        _check_token(facts)
        return ""
    known = current(facts, dialects, "password")
    if facts.matching:
        return known if known in facts.matching else min(facts.matching)
    if wishes.password == "keep" and known:  # noqa: S105
        return str(known)
    return facts.hash or f"{facts.hash_kind}{PLACEHOLDER}"


def choose_tls(
    facts: Facts, dialects: Sequence[Dialect], wishes: Wishes, names: Iterable[str], now: datetime
) -> Tls:
    """The certificate to use: the one there is while it is of use and no new one is asked for."""
    certfile = str(current(facts, dialects, "certfile") or "")
    keyfile = str(current(facts, dialects, "keyfile") or "")
    wanted = wishes.tls if wishes.tls is not None else bool(wishes.public or wishes.renew or certfile)
    if not wanted:
        return Tls()
    if not certfile or wishes.renew:
        return _new(facts, names, now, ())
    text = facts.certificates[certfile].text if certfile in facts.certificates else None
    ends = end_of(text) if text else None
    if ends is None or (keyfile and keyfile not in facts.keys):
        broken = certfile if ends is None else keyfile
        note = f"{facts.shown(broken)}, which the config names, cannot be read: a new one is made"
        return _new(facts, names, now, (note,))
    mode = facts.keys.get(keyfile) or 0
    notes = [remark(ends, now)]
    if mode & 0o077:
        notes.append(f"others may read the private key {facts.shown(keyfile)}: chmod 600 it, or take --renew")
    return Tls(certfile, keyfile, notes=tuple(notes))


def _new(facts: Facts, names: Iterable[str], now: datetime, notes: tuple[str, ...]) -> Tls:
    made = make_certificate(names, now)
    words = f"a certificate for {', '.join(made.names)}, good until {made.ends:%Y-%m-%d}"
    texts = {
        CERTIFICATE_NAME: (made.certificate, words),
        KEY_NAME: (made.key, "its private key, for you alone (mode 0600)"),
    }
    changes = tuple(
        Change(facts.ours[name].path, facts.our_digests[name], text, words=said)
        for name, (text, said) in texts.items()
    )
    paths = [posixpath.join(facts.directory, name) for name in texts]
    return Tls(paths[0], paths[1], changes, notes)


def _check_token(facts: Facts) -> None:
    """Where the config switches the token off, a server without a password would be open to all there."""
    for entry in reversed(facts.entries):
        for section in _TOKEN_SECTIONS:
            if entry.values.get(section, {}).get("token") == "":
                raise ServerError(
                    "jupyter-failed",
                    f"{facts.shown(entry.file)} on {facts.ground.node} sets token = '': without a password, "
                    "anybody there could run commands as you",
                    "take that line out of it, or set a password",
                )
