"""The keys that are offered to a server, in ssh(1)'s order: the agent's, then files, then the agent's rest.

Files and agent are read anew for each login. An encrypted file is unlocked only when the server
would take it, and stays unlocked in memory for as long as its link lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Final

import asyncssh

from jtunnel import paths
from jtunnel.ssh.agent import Agents
from jtunnel.ssh.destination import Resolved

_log = logging.getLogger(__name__)

_DEFAULT_FILES: Final = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")
_PASSPHRASE_TRIES: Final = 3
#: Seconds between looks at the agent while a login is blocked for want of a key.
_AGENT_LOOK_S: Final = 5.0

#: Asks a person for the passphrase of a file; None when nobody answers.
AskPassphrase = Callable[[str], Awaitable[str | None]]
#: Is told in words which identity file cannot be used.
Complain = Callable[[str], None]


class KeyStore:
    """What a link remembers of its logins: keys that a passphrase has unlocked, by their encrypted text.

    `person_logged_in` says that the last one took a password or code from a person; neither is kept.
    """

    def __init__(self) -> None:
        self.person_logged_in = False
        self._agent_keys: frozenset[bytes] | None = None
        self._unlocked: dict[bytes, asyncssh.SSHKey] = {}

    async def unlock(self, path: str, data: bytes, ask: AskPassphrase) -> asyncssh.SSHKey | None:
        """The private key in `data`, asking for its passphrase up to three times; None without one."""
        if key := self._unlocked.get(data):
            return key
        for _ in range(_PASSPHRASE_TRIES):
            passphrase = await ask(path)
            if passphrase is None:
                return None
            try:
                # Key derivation takes its time on purpose.
                key = await asyncio.to_thread(asyncssh.import_private_key, data, passphrase)
            except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
                continue
            self._unlocked[data] = key
            return key
        return None

    def note_agent_keys(self, keys: Iterable[bytes]) -> None:
        """Remember which keys of the agent's the latest login could offer."""
        self._agent_keys = frozenset(keys)

    async def wait_new_agent_key(
        self, resolved: Resolved, environ: Mapping[str, str], agents: Agents
    ) -> None:
        """Wait until the agent lists a key that the latest login could not offer; asks nobody else."""
        offered = self._agent_keys
        while True:
            listed = await agents.list_keys(resolved.identity_agent, environ)
            if offered is None:
                offered = listed
            new, offered = listed - offered, offered | listed
            if any(_may_offer(key, resolved, environ) for key in new):
                # One try for each key, also where that login does not come to offering any.
                self._agent_keys = offered
                return
            await asyncio.sleep(_AGENT_LOOK_S)


async def offer_keys(
    resolved: Resolved,
    environ: Mapping[str, str],
    agents: Agents,
    store: KeyStore,
    ask: AskPassphrase,
    complain: Complain,
) -> AsyncIterator[asyncssh.SSHKeyPair]:
    """Yield the keys to try, one after another; the caller stops asking once one is taken."""
    # Named files that do not exist still take the place of the defaults, as in ssh(1). Where only the
    # public half is there, it names a key of the agent's (ssh_config(5), IdentityFile).
    named = resolved.identity_files or _default_files(environ)
    files = _readable(named)
    certificates = [paths.expand(str(path), environ) for path in resolved.option("CertificateFile", [])]
    public = _public_halves(named)
    agent = await agents.open(resolved.identity_agent, environ)
    try:
        held = agent.keys if agent else []
        store.note_agent_keys(pair.public_data for pair in held)
        matching = [pair for pair in held if pair.public_data in public.values()]
        for pair in matching:
            yield pair
        in_agent = {pair.public_data for pair in held}
        for path in resolved.identity_files:
            if path not in files and public.get(path) not in in_agent:
                complain(f"the key file {path} is missing or unreadable")
        for path in files:
            if public.get(path) not in in_agent:
                for pair in await _file_keys(path, certificates, store, ask, complain):
                    yield pair
        if not resolved.option("IdentitiesOnly", False):
            for pair in held:
                if pair not in matching:
                    yield pair
    finally:
        if agent:
            agent.close()


class _LockedKeyPair(asyncssh.SSHKeyPair):
    """An encrypted key that is unlocked when the server has said that it would take it."""

    def __init__(
        self,
        public: asyncssh.SSHKey,
        certificate: asyncssh.SSHCertificate | None,
        unlock: Callable[[], Awaitable[asyncssh.SSHKey | None]],
    ) -> None:
        algorithms = public.sig_algorithms
        super().__init__(
            public.algorithm, public.algorithm, algorithms, algorithms, public.public_data, None, certificate
        )
        self._unlock = unlock

    async def sign_async(self, data: bytes) -> bytes:
        """Sign, asking for the passphrase first; asyncssh goes on to the next key at ValueError."""
        key = await self._unlock()
        if key is None:
            raise ValueError("the key stays locked")
        return key.sign(data, self.sig_algorithm)


async def _file_keys(
    path: str, certificates: list[str], store: KeyStore, ask: AskPassphrase, complain: Complain
) -> list[asyncssh.SSHKeyPair]:
    """The key pairs of one file, its certificate first; an unusable file is logged and left out."""
    try:
        data = await asyncio.to_thread(_read, path)
        usable = [*certificates, f"{path}-cert.pub"]
        certificate_list = asyncssh.load_certificates([file for file in usable if os.access(file, os.R_OK)])
        try:
            key = asyncssh.import_private_key(data)
        except asyncssh.KeyImportError as error:
            if "assphrase" not in str(error):
                raise
        else:
            return list(asyncssh.load_keypairs(key, certlist=certificate_list))
        public = _public_key(path)
        if public is None:
            # An old PEM file without its .pub: nothing can be offered before it is unlocked.
            unlocked = await store.unlock(path, data, ask)
            return list(asyncssh.load_keypairs(unlocked, certlist=certificate_list)) if unlocked else []
        matching = [cert for cert in certificate_list if cert.key.public_data == public.public_data]
        unlock = functools.partial(store.unlock, path, data, ask)
        return [_LockedKeyPair(public, cert, unlock) for cert in (*matching, None)]
    except (OSError, ValueError) as error:
        _log.warning("identity file %s cannot be used: %s", path, type(error).__name__)
        complain(f"the key file {path} holds no usable key")
        return []


def _may_offer(public_data: bytes, resolved: Resolved, environ: Mapping[str, str]) -> bool:
    """Whether a login would offer this key of the agent's (ssh_config(5), IdentitiesOnly)."""
    if not resolved.option("IdentitiesOnly", False):
        return True
    return public_data in _public_halves(resolved.identity_files or _default_files(environ)).values()


def _public_halves(files: Iterable[str]) -> dict[str, bytes]:
    """By path, the public halves of those key files that have one."""
    return {path: key.public_data for path in files if (key := _public_key(path))}


def _default_files(environ: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(paths.expand(f"~/.ssh/{name}", environ) for name in _DEFAULT_FILES)


def _readable(files: Iterable[str]) -> list[str]:
    return [path for path in files if os.path.isfile(path) and os.access(path, os.R_OK)]


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _public_key(path: str) -> asyncssh.SSHKey | None:
    """The public half of a key file: from its `.pub`, else from the file itself (OpenSSH's format)."""
    for candidate in (f"{path}.pub", path):
        with contextlib.suppress(OSError, ValueError):
            return asyncssh.read_public_key(candidate)
    return None
