"""The words for what goes wrong, shared by daemon and client. No I/O; stdlib only, and little of it.

Every failure that a person can meet is one of these::

    JTunnelError           kind, message, advice
    ├── ConfigError        the config file, or the way a command was called
    ├── LinkError          why there is no SSH connection
    ├── ChannelError       one channel did not open; the connection itself is fine
    ├── ListenerError      a local socket cannot be opened
    ├── ServerError        the remote Jupyter server is missing, failed or gone
    └── ControlError       client and daemon do not reach or understand each other

``kind`` is stable and made for scripts; ``KINDS`` says what follows from each.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from jtunnel.status import Problem

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NO_DAEMON: Final = 3
EXIT_BLOCKED: Final = 4

#: kind → (the state it puts a tunnel in, or None; the exit code of `up`).
KINDS: Final[Mapping[str, tuple[str | None, int]]] = {
    "host-unreachable": ("retrying", EXIT_FAILED),
    "connection-lost": ("retrying", EXIT_FAILED),
    "host-key-unknown": ("blocked", EXIT_BLOCKED),
    "host-key-changed": ("blocked", EXIT_BLOCKED),
    "auth-failed": ("blocked", EXIT_BLOCKED),
    "input-required": ("blocked", EXIT_BLOCKED),
    "forward-refused": ("blocked", EXIT_BLOCKED),
    "port-in-use": ("blocked", EXIT_BLOCKED),
    "target-refused": (None, EXIT_DONE),
    "jupyter-missing": ("blocked", EXIT_BLOCKED),
    "jupyter-failed": ("blocked", EXIT_BLOCKED),
    "service-missing": ("blocked", EXIT_BLOCKED),
    "service-failed": ("blocked", EXIT_BLOCKED),
    "server-gone": ("blocked", EXIT_BLOCKED),
    "job-ended": ("blocked", EXIT_BLOCKED),
    "config-invalid": (None, EXIT_USAGE),
    "internal": ("blocked", EXIT_FAILED),
    # Answers of the control protocol that are no tunnel's problem:
    "unknown-profile": (None, EXIT_USAGE),
    "usage": (None, EXIT_USAGE),
    "not-up": (None, EXIT_FAILED),
    "no-daemon": (None, EXIT_NO_DAEMON),
    "daemon-failed": (None, EXIT_FAILED),
    "protocol-mismatch": (None, EXIT_FAILED),
}


def one_line(text: str) -> str:
    """`text` on one line without anything that could steer a terminal: some of it comes from afar."""
    if text.isprintable():
        return text
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


class JTunnelError(Exception):
    """A failure in a person's words: what happened (`message`), then what to do (`advice`).

    Both are one line and never hold a secret.
    """

    def __init__(self, kind: str, message: str, advice: str = "") -> None:
        if kind not in KINDS:
            raise ValueError(f"no such kind of problem: {kind}")
        super().__init__(message)
        self.kind = kind
        self.message = one_line(message)
        self.advice = one_line(advice)

    @property
    def problem(self) -> Problem:
        """The same as plain data, for status documents and the control protocol."""
        return {"kind": self.kind, "message": self.message, "advice": self.advice}

    @property
    def exit_code(self) -> int:
        """What a command that ends with this error returns to the shell."""
        return KINDS[self.kind][1]

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}" if self.advice else self.message


class ConfigError(JTunnelError):
    """The config file is wrong, or a command names something that is not in it.

    `lines` has all that is wrong, one line each, where `message` has room for the first only;
    `missing` tells a config file that does not exist from a wrong one.
    """

    def __init__(
        self, kind: str, message: str, advice: str = "", *, lines: tuple[str, ...] = (), missing: bool = False
    ) -> None:
        super().__init__(kind, message, advice)
        self.lines = lines or (message,)
        self.missing = missing


class LinkError(JTunnelError):
    """There is no SSH connection, and this is why."""


class ChannelError(JTunnelError):
    """One channel did not open: `forward-refused`, `target-refused` or `connection-lost`.

    `reason` may say more: of a target `refused` or `unreachable` (also of a name that is not known), of a
    remote forward `twice`, where another over the same connection has the place; of a command `slow`.
    """

    def __init__(self, kind: str, message: str, advice: str = "", *, reason: str = "") -> None:
        super().__init__(kind, message, advice)
        self.reason = reason


class ListenerError(JTunnelError):
    """A local socket cannot be opened: `port-in-use`."""


class ServerError(JTunnelError):
    """The remote Jupyter server is missing, did not start, does not answer or is gone."""


class ControlError(JTunnelError):
    """Client and daemon do not reach or understand each other."""


def problem_error(problem: Problem) -> JTunnelError:
    """Make the exception that a problem from the other side of the control socket stands for."""
    kind = problem["kind"] if problem["kind"] in KINDS else "internal"
    return JTunnelError(kind, problem["message"], problem["advice"])
