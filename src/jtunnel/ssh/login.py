"""What asyncssh asks and tells while it shakes hands, passed on to the attempt that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import asyncssh

from jtunnel.ssh import failures, verify
from jtunnel.ssh.prompts import Question

if TYPE_CHECKING:
    from jtunnel.ssh.connect import Attempt

#: As NumberOfPasswordPrompts in ssh_config(5).
_PASSWORD_TRIES: Final = 3


class Login(asyncssh.SSHClient):
    """One handshake: the host's key, then keys, passwords and codes as the server wants them."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._passwords_asked = 0
        self._codes_begun = 0
        self._code_asked = False
        self._connection: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn
        self._attempt.begin_key_exchange()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._attempt.lost.done():
            self._attempt.lost.set_result(exc)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self._attempt.shown = verify.ShownKey(host, addr, port, key)
        return key == self._attempt.accepted

    def begin_auth(self, username: str) -> None:
        self._attempt.begin_login()

    async def public_key_auth_requested(self) -> asyncssh.SSHKeyPair | None:
        await self._attempt.take_turn()
        return await self._attempt.next_key()

    async def password_auth_requested(self) -> str | None:
        await self._attempt.take_turn()
        if self._passwords_asked == _PASSWORD_TRIES or not self._attempt.is_for_person:
            return None
        self._passwords_asked += 1
        resolved = self._attempt.resolved
        return await self._attempt.ask(
            Question("password", f"{resolved.user}@{resolved.address}'s password: ")
        )

    async def kbdint_auth_requested(self) -> str | None:
        await self._attempt.take_turn()
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
