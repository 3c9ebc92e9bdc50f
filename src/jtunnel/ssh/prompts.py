"""Questions to a person, and the desk where they are asked. Who answers is not known here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Question:
    """One question: `message` may have several lines; `echo` says whether the answer may be seen.

    `about` is the key file that a passphrase is for.
    """

    kind: Literal["host-key", "passphrase", "password", "code"]
    message: str
    echo: bool = False
    about: str = ""


class Asker(Protocol):
    """Somebody who can put a question to a person."""

    async def __call__(self, question: Question) -> str | None:
        """Return the answer, or None when the person gave up or is gone."""
        ...


class Desk:
    """Where a connection asks: the people who wait for it now, those waiting for its users included."""

    def __init__(self) -> None:
        self._askers: list[Asker] = []
        self._others: list[Desk] = []

    @contextmanager
    def attended_by(self, asker: Asker) -> Iterator[None]:
        """Let `asker` answer for as long as the block runs."""
        self._askers.append(asker)
        try:
            yield
        finally:
            self._askers.remove(asker)

    @contextmanager
    def passing_to(self, other: Desk) -> Iterator[None]:
        """Pass questions that nobody here can answer to `other` for as long as the block runs."""
        self._others.append(other)
        try:
            yield
        finally:
            self._others.remove(other)

    @property
    def asker(self) -> Asker | None:
        """Who would answer now; None when nobody is there."""
        if self._askers:
            return self._askers[-1]
        return next((other.asker for other in self._others if other.asker), None)
