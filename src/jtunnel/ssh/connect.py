"""From a destination to a live connection: dial, verify the host, log in, asking a person where one is there.

Each stage has its own deadline, so that a mute server hangs nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import Any, Final, cast

import asyncssh

from jtunnel.errors import LinkError
from jtunnel.ssh import failures, host_keys, verify
from jtunnel.ssh.connection import Connection
from jtunnel.ssh.deadline import StageClock
from jtunnel.ssh.destination import Resolved
from jtunnel.ssh.dial import dial, first_word
from jtunnel.ssh.dialer import Dialer
from jtunnel.ssh.identities import KeyStore, offer_keys
from jtunnel.ssh.login import Login
from jtunnel.ssh.over_jump import OverJump
from jtunnel.ssh.prompts import Desk, Question
from jtunnel.ssh.sockets import LentSocket

TCP_TIMEOUT_S: Final = 10.0
KEX_TIMEOUT_S: Final = 10.0
AUTH_TIMEOUT_S: Final = 10.0
#: Seconds that a server has for its first word before the handshake begins without having a turn.
_FIRST_WORD_S: Final = 0.5


async def connect(
    resolved: Resolved,
    *,
    environ: Mapping[str, str],
    desk: Desk,
    store: KeyStore,
    jump: Connection | None,
    dialer: Dialer,
) -> Connection:
    """Open a connection and log in; `jump` is the connection to go over, if any.

    Raises LinkError: `host-unreachable`, `host-key-unknown`, `host-key-changed`, `auth-failed` or
    `input-required`. An unknown host key is shown to whoever attends `desk`; after a `yes` it is
    remembered and the host is dialled again, so that nobody's thinking time runs on a server's clock.
    """
    accepted: asyncssh.SSHKey | None = None
    while True:
        attempt = Attempt(resolved, environ, desk, store, accepted, dialer)
        try:
            return await attempt.run(jump)
        except asyncssh.HostKeyNotVerifiable as error:
            accepted = await verify.judge_host(resolved, attempt.known, attempt.shown, accepted, desk, error)


class Attempt:
    """One handshake, with what its callbacks learn on the way."""

    def __init__(
        self,
        resolved: Resolved,
        environ: Mapping[str, str],
        desk: Desk,
        store: KeyStore,
        accepted: asyncssh.SSHKey | None,
        dialer: Dialer,
    ) -> None:
        self.resolved = resolved
        self.accepted = accepted
        self.known = host_keys.load_known_hosts((*resolved.user_known_hosts, *resolved.global_known_hosts))
        self.shown: verify.ShownKey | None = None
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.desk = desk
        self._clock = StageClock()
        self._dialer = dialer
        self._turn = dialer.turn()
        self._store = store
        self._asked_person = False
        self._asking = False
        self._unanswered: Question | None = None
        self._keys_offered = False
        self._keys_refused = False
        self._unusable: list[str] = []
        self._keys: AsyncGenerator[asyncssh.SSHKeyPair, None] = cast(
            "AsyncGenerator[asyncssh.SSHKeyPair, None]",
            offer_keys(resolved, environ, dialer.agents, store, self._ask_passphrase, self._unusable.append),
        )

    async def run(self, jump: Connection | None) -> Connection:
        """Dial, exchange keys, log in."""
        where = self.resolved.address
        lent: LentSocket | None = None
        connection: Connection | None = None
        try:
            async with self._clock:
                self._clock.enter("connecting", TCP_TIMEOUT_S)
                if (sock := await self._dial(jump)) is not None:
                    lent = LentSocket(sock)
                ssh = await asyncssh.connect(
                    self.resolved.alias,
                    options=self.resolved.options,
                    client_factory=lambda: Login(self),
                    known_hosts=self.known,
                    server_host_key_algs=self._host_key_algorithms(),
                    sock=sock,
                    **self._road(jump),
                )
            self._store.person_logged_in = self._asked_person
            connection = Connection(
                ssh, where, self.lost, sock=sock, jump=jump, asked_person=self._asked_person
            )
            return connection
        except TimeoutError as error:
            if self._clock.is_over:
                raise failures.stage_timeout(where, self._clock.stage, self._clock.seconds) from None
            raise self._login_error(error) from None
        except asyncssh.HostKeyNotVerifiable:
            raise
        except (asyncssh.Error, OSError, ValueError) as error:
            raise self._login_error(error) from None
        finally:
            self._turn.give_back()
            if lent is not None and connection is None:
                lent.close()
            await self._keys.aclose()

    async def _dial(self, jump: Connection | None) -> socket.socket | None:
        """Our own TCP connection, in its turn, unless a jump host or a ProxyCommand makes the stream."""
        resolved, options = self.resolved, self.resolved.options
        if jump is not None or resolved.option("ProxyCommand") or options.canonicalize_hostname:
            return None
        try:
            # The look-up has a limit of its own, and may have to wait for its turn.
            with self._clock.paused():
                addresses = await self._dialer.names.look_up(options.host, options.port, options.family)
        except (socket.gaierror, TimeoutError) as error:
            raise failures.name_failed(options.host, error) from None
        sock = await dial(addresses, options.local_addr)
        try:
            await self._may_begin(first_word(sock))
        except BaseException:
            sock.close()
            raise
        return sock

    async def _may_begin(self, first_word: Awaitable[None]) -> None:
        """Wait for our turn once the server has spoken: a mute one takes nobody's turn.

        Such a one, which may also be waiting for us to speak first, needs its turn at the login.
        """
        self.begin_key_exchange()
        try:
            async with asyncio.timeout(_FIRST_WORD_S):
                await first_word
        except TimeoutError:
            return
        await self.take_turn()

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
            return {"tunnel": OverJump(jump, self._may_begin), "proxy_command": None}
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
        if self._unanswered is not None and failures.is_refusal(error):
            return failures.input_required(resolved.address, resolved.user, self._unanswered, self._unusable)
        return failures.login_failed(resolved.address, resolved.user, resolved.alias, error, self._unusable)

    def begin_key_exchange(self) -> None:
        """Give the key exchange its time, of which waiting for the first word is a part."""
        if self._clock.stage != "key exchange":
            self._clock.enter("key exchange", KEX_TIMEOUT_S)

    def begin_login(self) -> None:
        """Give the login its time."""
        self._clock.enter("login", AUTH_TIMEOUT_S)

    async def take_turn(self) -> None:
        """Wait for the turn, where it is not there yet; the clock stands meanwhile."""
        with self._clock.paused():
            await self._turn.take()

    async def next_key(self) -> asyncssh.SSHKeyPair | None:
        """The next key to offer; None when there are no more."""
        key = await anext(self._keys, None)
        if key is None:
            self._keys_refused = self._keys_offered
        self._keys_offered = True
        return key

    async def ask(self, question: Question) -> str | None:
        """Put a question to whoever attends; meanwhile the clock stands, and others have their turn."""
        answer: str | None = None
        if (asker := self.desk.asker) is not None:
            self._turn.give_back()
            self._asking = True
            with self._clock.paused():
                answer = await asker(question)
            self._asking = False
        # What counts when the login fails is how it ended: a wrong answer is one.
        self._unanswered = (self._unanswered or question) if answer is None else None
        if answer is not None and question.kind in ("password", "code"):
            self._asked_person = True
        return answer

    async def _ask_passphrase(self, path: str) -> str | None:
        return await self.ask(Question("passphrase", f"Enter passphrase for key '{path}': ", about=path))

    @property
    def is_for_person(self) -> bool:
        """Whether to ask for a password or code.

        With somebody there, always. With nobody there it decides what the failure is called: where
        keys were named for this host and the server took none, the login was refused; a password
        would only go around that, unless it was a person who logged in last.
        """
        if self.desk.asker is not None or self._store.person_logged_in:
            return True
        return not (self._keys_refused and self.resolved.identity_files)
