"""From a destination to a live connection: dial, verify the host, log in, asking a person where one is there.

Each stage has its own deadline, so that a mute server hangs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, cast

import asyncssh

from jtunnel.errors import LinkError
from jtunnel.ssh import failures, host_keys, verify
from jtunnel.ssh.connection import Connection
from jtunnel.ssh.deadline import StageClock
from jtunnel.ssh.destination import Resolved
from jtunnel.ssh.dial import dial
from jtunnel.ssh.identities import KeyStore, offer_keys
from jtunnel.ssh.prompts import Desk, Question

_log = logging.getLogger(__name__)

TCP_TIMEOUT_S: Final = 10.0
KEX_TIMEOUT_S: Final = 10.0
AUTH_TIMEOUT_S: Final = 10.0
#: As NumberOfPasswordPrompts in ssh_config(5).
_PASSWORD_TRIES: Final = 3


async def connect(
    resolved: Resolved,
    *,
    environ: Mapping[str, str],
    desk: Desk,
    store: KeyStore,
    jump: Connection | None,
) -> Connection:
    """Open a connection and log in; `jump` is the connection to go over, if any.

    Raises LinkError: `host-unreachable`, `host-key-unknown`, `host-key-changed`, `auth-failed` or
    `input-required`. An unknown host key is shown to whoever attends `desk`; after a `yes` it is
    remembered and the host is dialled again, so that nobody's thinking time runs on a server's clock.
    """
    accepted: asyncssh.SSHKey | None = None
    while True:
        attempt = _Attempt(resolved, environ, desk, store, accepted)
        try:
            return await attempt.run(jump)
        except asyncssh.HostKeyNotVerifiable as error:
            accepted = await verify.judge_host(resolved, attempt.known, attempt.shown, accepted, desk, error)


class _Attempt:
    """One handshake, with what its callbacks learn on the way."""

    def __init__(
        self,
        resolved: Resolved,
        environ: Mapping[str, str],
        desk: Desk,
        store: KeyStore,
        accepted: asyncssh.SSHKey | None,
    ) -> None:
        self.resolved = resolved
        self.accepted = accepted
        self.known = host_keys.load_known_hosts((*resolved.user_known_hosts, *resolved.global_known_hosts))
        self.shown: verify.ShownKey | None = None
        self.unanswered: Question | None = None
        self.clock = StageClock()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.desk = desk
        self.store = store
        self._keys_offered = False
        self._keys_refused = False
        self._asking = False
        self._keys: AsyncGenerator[asyncssh.SSHKeyPair, None] = cast(
            "AsyncGenerator[asyncssh.SSHKeyPair, None]",
            offer_keys(resolved, environ, store, self.ask_passphrase),
        )

    async def run(self, jump: Connection | None) -> Connection:
        """Dial, exchange keys, log in."""
        where, seconds = self.resolved.address, TCP_TIMEOUT_S
        sock: socket.socket | None = None
        try:
            async with self.clock:
                self.clock.enter("connecting", TCP_TIMEOUT_S)
                sock = await self._dial(jump)
                ssh = await asyncssh.connect(
                    self.resolved.alias,
                    options=self.resolved.options,
                    client_factory=lambda: _Client(self),
                    known_hosts=self.known,
                    server_host_key_algs=self._host_key_algorithms(),
                    sock=sock,
                    **self._road(jump),
                )
                sock = None
        except TimeoutError:
            raise failures.stage_timeout(where, self.clock.stage, seconds) from None
        except asyncssh.HostKeyNotVerifiable:
            raise
        except (asyncssh.Error, OSError, ValueError) as error:
            raise self._login_error(error) from None
        finally:
            if sock is not None:
                sock.close()
            await self._keys.aclose()
        return Connection(ssh, where, self.lost)

    async def _dial(self, jump: Connection | None) -> socket.socket | None:
        """Our own TCP connection, unless a jump host or a ProxyCommand makes the stream."""
        resolved = self.resolved
        if jump is not None or resolved.option("ProxyCommand") or resolved.options.canonicalize_hostname:
            return None
        options = resolved.options
        return await dial(options.host, options.port, family=options.family, source=options.local_addr)

    def _host_key_algorithms(self) -> list[str] | tuple[()]:
        """Those of known keys first, then all others: a host that lost its old key is one that changed.

        What ssh_config(5) says under HostKeyAlgorithms stands.
        """
        if self.resolved.option("HostKeyAlgorithms"):
            return ()
        resolved = self.resolved
        name = resolved.option("HostKeyAlias") or resolved.host
        return host_keys.order_algorithms(self.known, name, resolved.port)

    def _road(self, jump: Connection | None) -> dict[str, Any]:
        if jump is not None:
            return {"tunnel": jump.ssh, "proxy_command": None}
        command = self.resolved.option("ProxyCommand")
        # Like ssh(1): the command is a shell's, which gives way to it.
        return {"tunnel": None, "proxy_command": ["/bin/sh", "-c", f"exec {command}"] if command else None}

    def _login_error(self, error: Exception) -> LinkError:
        resolved = self.resolved
        if self._asking:
            # Asking again by itself would pile up questions that nobody looks at.
            return LinkError(
                "input-required",
                f"{resolved.address} did not wait for the answer",
                "bring the tunnel up again, and answer sooner",
            )
        if self.unanswered is not None and isinstance(error, asyncssh.Error):
            return LinkError(
                "input-required",
                f"{resolved.address} wants a {self.unanswered.kind} for {resolved.user}",
                "bring the tunnel up in a terminal, and answer there",
            )
        return failures.login_failed(resolved.address, resolved.user, resolved.alias, error)

    async def next_key(self) -> asyncssh.SSHKeyPair | None:
        """The next key to offer; None when there are no more."""
        key = await anext(self._keys, None)
        if key is None:
            self._keys_refused = self._keys_offered
        self._keys_offered = True
        return key

    async def ask(self, question: Question) -> str | None:
        """Put a question to whoever attends; the clock stands while a person thinks."""
        answer: str | None = None
        if (asker := self.desk.asker) is not None:
            self._asking = True
            with self.clock.paused():
                answer = await asker(question)
            self._asking = False
        # What counts when the login fails is how it ended: a wrong answer is one.
        self.unanswered = (self.unanswered or question) if answer is None else None
        if answer is not None and question.kind in ("password", "code"):
            self.store.person_logged_in = True
        return answer

    async def ask_passphrase(self, path: str) -> str | None:
        """Ask for the passphrase of an identity file."""
        return await self.ask(Question("passphrase", f"Enter passphrase for key '{path}': "))

    @property
    def is_for_person(self) -> bool:
        """Whether to ask for a password or code.

        With somebody there, always. With nobody there it decides what the failure is called: where
        keys were named for this host and the server took none, the login was refused; a password
        would only go around that, unless it was a person who logged in last.
        """
        if self.desk.asker is not None or self.store.person_logged_in:
            return True
        return not (self._keys_refused and self.resolved.identity_files)


class _Client(asyncssh.SSHClient):
    """What asyncssh asks and tells during a handshake."""

    def __init__(self, attempt: _Attempt) -> None:
        self._attempt = attempt
        self._passwords_asked = 0
        self._codes_begun = 0
        self._code_asked = False
        self._connection: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn
        self._attempt.clock.enter("key exchange", KEX_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._attempt.lost.done():
            self._attempt.lost.set_result(exc)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self._attempt.shown = verify.ShownKey(host, addr, port, key)
        return key == self._attempt.accepted

    def begin_auth(self, username: str) -> None:
        self._attempt.clock.enter("login", AUTH_TIMEOUT_S)

    async def public_key_auth_requested(self) -> asyncssh.SSHKeyPair | None:
        return await self._attempt.next_key()

    async def password_auth_requested(self) -> str | None:
        if self._passwords_asked == _PASSWORD_TRIES or not self._attempt.is_for_person:
            return None
        self._passwords_asked += 1
        resolved = self._attempt.resolved
        return await self._attempt.ask(
            Question("password", f"{resolved.user}@{resolved.address}'s password: ")
        )

    async def kbdint_auth_requested(self) -> str | None:
        # A server may offer this method and have nothing to ask by it: then there is the next one.
        in_vain = self._codes_begun > 0 and not self._code_asked
        if self._codes_begun == _PASSWORD_TRIES or in_vain or not self._attempt.is_for_person:
            return None
        if self._attempt.desk.asker is None:
            methods = self._connection.get_server_auth_methods() if self._connection else ()
            await self._attempt.ask(Question("password" if "password" in methods else "code", ""))
            return None
        self._codes_begun += 1
        self._code_asked = False
        return ""

    async def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Any
    ) -> list[str] | None:
        answers: list[str] = []
        heading = "\n".join(failures.quote(text) for text in (name, instructions) if text.strip())
        for prompt, echo in prompts:
            self._code_asked = True
            text = failures.quote(prompt) + " "
            message = f"{heading}\n{text}" if heading and not answers else text
            answer = await self._attempt.ask(Question("code", message, echo))
            if answer is None:
                return None
            answers.append(answer)
        return answers
