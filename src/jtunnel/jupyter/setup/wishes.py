"""What is asked of a setup, read from the wire; and why it is refused where wishes contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from jtunnel.errors import ConfigError

_HELP = "see: jtunnel setup --help"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the server shall be like; None leaves a thing as it is, or takes the best default.

    `password`: `keep` one or set the first, `set` another, or `none`. `plan` is the digest of the plan that a
    person has agreed to.
    """

    port: int | Literal["auto"] | None = None
    directory: str | None = None
    password: Literal["keep", "set", "none"] = "keep"  # noqa: S105  (a word, no password)
    tls: bool | None = None
    renew: bool = False
    public: bool = False
    start: bool = False
    undo: bool = False
    plan: str | None = None


def read_wishes(members: Mapping[str, Any]) -> Wishes:
    """Check them. Raises ConfigError (`usage`)."""
    known = {field.name for field in fields(Wishes)}
    if unknown := sorted(set(members) - known):
        raise _wrong(f"setup knows no {unknown[0]}")
    wishes = Wishes(**members)
    _check_kinds(wishes)
    if wishes.public and wishes.password == "none":  # noqa: S105  (a word, no password)
        raise _wrong("--public needs a password: without one, anybody in that network could run commands")
    if wishes.public and wishes.tls is False:
        raise _wrong("--public needs TLS: without it, the password and all you do could be read on the way")
    if wishes.renew and wishes.tls is False:
        raise _wrong("--renew makes a certificate, and --no-tls wants none")
    return wishes


def _check_kinds(wishes: Wishes) -> None:
    port = wishes.port
    if not (port in (None, "auto") or (type(port) is int and 0 < port < 65536)):
        raise _wrong(f"{port!r} is no port: a number from 1 to 65535, or auto")
    if wishes.directory is not None and (type(wishes.directory) is not str or not wishes.directory):
        raise _wrong("the directory has no name")
    if wishes.password not in ("keep", "set", "none"):
        raise _wrong("password is one of keep, set and none")
    if wishes.tls not in (None, True, False) or not (wishes.plan is None or isinstance(wishes.plan, str)):
        raise _wrong("tls is true, false or null, and plan a text")
    if not all(type(flag) is bool for flag in (wishes.renew, wishes.public, wishes.start, wishes.undo)):
        raise _wrong("renew, public, start and undo are true or false")


def _wrong(what: str) -> ConfigError:
    return ConfigError("usage", what, _HELP)
