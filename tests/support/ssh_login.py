"""How the faulty SSH server answers one connection's requests, and what it counts. Opens no socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncssh
from asyncssh.auth import KbdIntChallenge, KbdIntResponse

if TYPE_CHECKING:
    from tests.support.ssh_server import FaultyServer


@dataclass(frozen=True, slots=True)
class Round:
    """One round of keyboard-interactive questions; each prompt is its text and whether to echo the answer."""

    prompts: Sequence[tuple[str, bool]] = ()
    answers: Sequence[str] = ()
    instructions: str = ""


@dataclass(slots=True)
class Counts:
    """What clients have done so far. `channels` and `commands` also hold what was refused or held."""

    connections: int = 0
    logins_begun: int = 0
    most_logins_at_once: int = 0
    """Begun and not yet completed; one that never is counts for ever."""
    logins: int = 0
    attempts: list[tuple[str, str]] = field(default_factory=list)
    """(method, user) of each try to authenticate; a key counts twice, offered and signed with."""
    sessions: int = 0
    channels: list[str] = field(default_factory=list)
    """The targets of forwarded channels: `HOST:PORT` or `unix:PATH`."""
    commands: list[str] = field(default_factory=list)


class Login(asyncssh.SSHServer):
    """One connection as asyncssh asks about it; every answer comes from the FaultyServer's attributes."""

    def __init__(self, server: FaultyServer, *, mute_auth: bool) -> None:
        self._server = server
        self._mute_auth = mute_auth
        self._rounds: Iterator[Round] = iter(())
        self._round: Round | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    async def begin_auth(self, username: str) -> bool:
        server = self._server

        def begin(counts: Counts) -> None:
            counts.logins_begun += 1
            counts.most_logins_at_once = max(counts.most_logins_at_once, counts.logins_begun - counts.logins)

        server.count(begin)
        if self._mute_auth:
            await asyncio.Event().wait()
        await server.login_turn()
        return bool(server.authorized or server.password is not None or server.rounds)

    def auth_completed(self) -> None:
        self._server.count(lambda counts: setattr(counts, "logins", counts.logins + 1))
        if self._server.close_after == "auth":
            asyncio.get_running_loop().call_soon(self._connection.close)

    def public_key_auth_supported(self) -> bool:
        return bool(self._server.authorized)

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._server.count(lambda counts: counts.attempts.append(("publickey", username)))
        offered = key.export_public_key().split()[:2]
        return any(
            offered == authorized.public.encode().split()[:2] for authorized in self._server.authorized
        )

    def password_auth_supported(self) -> bool:
        return self._server.password is not None

    def validate_password(self, username: str, password: str) -> bool:
        self._server.count(lambda counts: counts.attempts.append(("password", username)))
        return password == self._server.password

    def kbdint_auth_supported(self) -> bool:
        return bool(self._server.rounds)

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> KbdIntChallenge:
        self._server.count(lambda counts: counts.attempts.append(("keyboard-interactive", username)))
        self._rounds = iter(list(self._server.rounds))
        return self._next_round()

    def validate_kbdint_response(self, username: str, responses: KbdIntResponse) -> KbdIntChallenge:
        assert self._round is not None
        return self._next_round() if list(responses) == list(self._round.answers) else False

    def _next_round(self) -> KbdIntChallenge:
        """The next questions; True after the last."""
        self._round = next(self._rounds, None)
        if self._round is None:
            return True
        return ("", self._round.instructions, "", list(self._round.prompts))

    def session_requested(self) -> Callable[..., Awaitable[None]]:
        self._server.count(lambda counts: setattr(counts, "sessions", counts.sessions + 1))
        if self._server.refuse_sessions is not None:
            raise asyncssh.ChannelOpenError(self._server.refuse_sessions, "refused on demand")
        return self._run_command

    async def _run_command(
        self,
        stdin: asyncssh.SSHReader[bytes],
        stdout: asyncssh.SSHWriter[bytes],
        stderr: asyncssh.SSHWriter[bytes],
    ) -> None:
        channel = stdout.channel
        assert isinstance(channel, asyncssh.SSHServerChannel)
        command = channel.get_command() or ""
        self._server.count(lambda counts: counts.commands.append(command))
        await self._server.commands.run(command, stdin, stdout, stderr)

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> Coroutine[Any, Any, Any]:
        return self._open_channel(
            f"{dest_host}:{dest_port}", lambda: self._connection.forward_connection(dest_host, dest_port)
        )

    def unix_connection_requested(self, dest_path: str) -> Coroutine[Any, Any, Any]:
        return self._open_channel(
            f"unix:{dest_path}", lambda: self._connection.forward_unix_connection(dest_path)
        )

    async def server_requested(self, listen_host: str, listen_port: int) -> asyncssh.SSHListener | bool:
        if not self._server.knocks:
            return False

        async def knock() -> None:
            with contextlib.suppress(asyncssh.ChannelOpenError):
                await self._connection.create_connection(_Knock, listen_host, listen_port)

        # Once the consent is out, which it is in this same turn of the loop.
        asyncio.get_running_loop().call_soon(self._connection.create_task, knock())
        return asyncssh.SSHListener()

    async def _open_channel(self, target: str, forward: Callable[[], Awaitable[Any]]) -> Any:
        self._server.count(lambda counts: counts.channels.append(target))
        await self._server.channel_turn()
        if self._connection.is_closed():
            # asyncssh would connect to the target all the same, and never close that.
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "the client is gone")
        if self._server.refuse_channels is not None:
            raise asyncssh.ChannelOpenError(self._server.refuse_channels, "refused on demand")
        forwarder = await forward()
        if self._connection.is_closed():
            # It went meanwhile: the same.
            forwarder.close()
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "the client is gone")
        return forwarder


class _Knock(asyncssh.SSHTCPSession[bytes]):
    """A channel that says nothing."""
